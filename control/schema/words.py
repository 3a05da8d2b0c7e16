"""Schemas in words: types, fields, and what changed from one version to the next."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from control.schema.evolution import Pair, branch_for, counterpart, pairs
from control.schema.files import Version
from control.schema.model import Field, Shape, below

_PLAIN = {
    "null": "nothing", "boolean": "true or false", "int": "whole number, 32 bits",
    "long": "whole number, 64 bits", "float": "number, 32 bits", "double": "number, 64 bits",
    "bytes": "bytes", "string": "text",
}
_LOGICAL = {
    "uuid": "UUID", "date": "date", "time-millis": "time of day, ms",
    "time-micros": "time of day, \u00b5s", "timestamp-millis": "time, UTC, ms",
    "timestamp-micros": "time, UTC, \u00b5s", "local-timestamp-millis": "local time, ms",
    "local-timestamp-micros": "local time, \u00b5s",
}


@dataclass(frozen=True)
class FieldRow:
    """A field as it is shown to a person."""

    name: str
    type: str
    # `required`, or the default as JSON.
    default: str
    since: str
    doc: str


def type_in_words(shape: Shape) -> str:  # noqa: PLR0911 - one for each kind
    """Say what a type holds."""
    if shape.logical == "decimal":
        return f"decimal({shape.precision}, {shape.scale})"
    if shape.logical in _LOGICAL:
        return _LOGICAL[shape.logical]
    if shape.kind == "union":
        kinds = [type_in_words(part) for part in shape.branches if part.kind != "null"]
        empty = ["nothing"] if len(kinds) < len(shape.branches) else []
        return " or ".join([*kinds, *empty])
    if shape.kind == "enum":
        return f"one of {', '.join(shape.symbols)}"
    if shape.kind == "fixed":
        return f"{shape.size} bytes"
    if shape.kind == "record":
        return shape.name.rpartition(".")[2]
    if shape.inner is not None:
        inner = type_in_words(shape.inner)
        return f"list of {inner}" if shape.kind == "array" else f"map of text to {inner}"
    return _PLAIN[shape.kind]


def rows(versions: Sequence[Version]) -> list[FieldRow]:
    """Describe the fields of the last of these versions, those of records within included."""
    return list(_rows(versions[-1].shape, [version.shape for version in versions],
                      [version.label for version in versions], "", ()))


def _rows(
    shape: Shape, olds: Sequence[Shape | None], labels: Sequence[str], path: str,
    above: tuple[str, ...],
) -> Iterator[FieldRow]:
    for field in shape.fields:
        fields = [counterpart(field, old) if old else None for old in olds]
        since = next(label for label, was in zip(labels, fields, strict=True) if was)
        here = below(path, field.name)
        yield FieldRow(here, type_in_words(field.type), _default(field), since, field.doc)
        inner = _record_in(field.type)
        if inner is not None and inner.name not in above:
            yield from _rows(inner, [_record_in(was.type) if was else None for was in fields],
                             labels, here, (*above, inner.name))


def _record_in(shape: Shape) -> Shape | None:
    """Return the record that a field holds, in a list or beside null as well."""
    if shape.kind == "record":
        return shape
    parts = (*shape.branches, *([shape.inner] if shape.inner else []))
    return next((found for part in parts if (found := _record_in(part))), None)


def _default(field: Field) -> str:
    if not field.has_default:
        return "required"
    return json.dumps(field.default, ensure_ascii=False)


def changes(old: Shape, new: Shape) -> list[str]:
    """Say what a newer version changed, one short phrase for each change."""
    return [phrase for pair in pairs(old, new) for phrase in _changes(pair)]


def _changes(pair: Pair) -> Iterator[str]:
    yield from _type_changes(pair)
    filled = set()
    for was, field in pair.fields():
        here = below(pair.path, field.name)
        if was is None:
            yield f"field {here} added ({'optional' if field.has_default else 'required'})"
            continue
        filled.add(was.name)
        if was.name != field.name:
            yield f"field {below(pair.path, was.name)} renamed to {field.name}"
        if (was.has_default, was.default) != (field.has_default, field.default) and not (
            # 0 and 0.0: the default went with the type.
            was.has_default and was.default == field.default
        ):
            yield f"default of {here} is {_default(field)}, was {_default(was)}"
    if pair.old.kind == pair.new.kind == "record":
        for gone in pair.old.fields:
            if gone.name not in filled:
                yield f"field {below(pair.path, gone.name)} removed"


def _type_changes(pair: Pair) -> Iterator[str]:
    old, new, here = pair.old, pair.new, pair.path or "the record"
    if "union" in {old.kind, new.kind}:
        kept = [branch_for(branch, new) for branch in old.choices]
        for branch in new.choices:
            if branch not in kept:
                yield (f"{here} may be absent" if branch.kind == "null"
                       else f"{here} may be {type_in_words(branch)}, too")
        for branch, match in zip(old.choices, kept, strict=True):
            if match is None:
                yield f"{here} may no longer be {type_in_words(branch)}"
    elif old.kind == new.kind == "enum":
        yield from _symbol_changes(old, new, here)
    elif old.kind == new.kind == "record":
        if old.name != new.name:
            yield f"{here} is called {new.name}, was {old.name}"
    elif old.kind != new.kind:
        verb = "widened" if branch_for(old, new) is not None else "changed"
        yield f"{here} {verb} from {old.kind} to {new.kind}"
    elif type_in_words(old) != type_in_words(new) and old.inner is None:
        yield f"{here} is {type_in_words(new)}, was {type_in_words(old)}"


def _symbol_changes(old: Shape, new: Shape, here: str) -> Iterator[str]:
    gained = [symbol for symbol in new.symbols if symbol not in old.symbols]
    lost = [symbol for symbol in old.symbols if symbol not in new.symbols]
    if gained:
        yield f"{here} gained {', '.join(gained)}"
    if lost:
        yield f"{here} lost {', '.join(lost)}"
    if old.name != new.name:
        yield f"{here} is called {new.name}, was {old.name}"


def history(versions: Sequence[Version]) -> list[tuple[str, str]]:
    """Return for each version what it changed of the one before it."""
    if not versions:
        return []
    first = versions[0]
    told = [(first.label, f"{len(first.shape.fields)} fields")]
    for old, new in pairwise(versions):
        said = changes(old.shape, new.shape)
        told.append((new.label, ", ".join(said) if said else "nothing but docs, aliases or order"))
    return told
