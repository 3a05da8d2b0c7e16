"""The rules that a version must keep by itself."""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from control.schema.files import Family, Version
from control.schema.findings import Problem
from control.schema.model import Field, NotAvroError, Shape, below, parse, walk

_INT_BITS = {"int": 31, "long": 63}
_UUID = {"type": "string", "logicalType": "uuid"}

# What every event carries, whatever its domain.
ENVELOPE: dict[str, object] = {
    "event_id": _UUID,
    "event_type": "string",
    "occurred_at": {"type": "long", "logicalType": "timestamp-micros"},
    "tenant_id": "string",
    "entity_id": "string",
    "correlation_id": _UUID,
    "causation_id": ["null", _UUID],
    "source": "string",
    "trace_context": ["null", "string"],
}


@dataclass(frozen=True)
class Place:
    """A type and where it stands."""

    path: str
    shape: Shape


def places(shape: Shape) -> Iterator[Place]:
    """Return every type of a schema."""
    return (Place(path, part) for path, part in walk(shape))


def enums_have_defaults(place: Place) -> Iterator[Problem]:
    """Refuse an enum without a default: it is what a reader takes for a symbol it does not know."""
    if place.shape.kind != "enum":
        return
    symbols = place.shape.symbols
    if place.shape.fallback not in symbols:
        wrong = (
            "the enum has no default" if place.shape.fallback is None
            else f"the enum's default {place.shape.fallback} is none of its symbols"
        )
        yield Problem(place.path, wrong,
                      f'add "default": one of {", ".join(symbols)}; UNKNOWN is a good one to have')


def defaults_fit(place: Place) -> Iterator[Problem]:
    """Refuse a default that is not of its field's type; of the first one, if there are several."""
    for field in place.shape.fields:
        if field.has_default:
            wrong = _misfit(field.type, field.default)
            if wrong:
                yield Problem(below(place.path, field.name), f"its default {wrong}",
                              _default_remedy(field))


def _default_remedy(field: Field) -> str:
    first = field.type.choices[0] if field.type.choices else field.type
    if field.default is None:
        return 'put "null" first in the list of types'
    if first.kind in {"bytes", "fixed"} or first.kind == "null":
        return 'use "type": ["null", ...] with "default": null'
    return "write a default of that type"


def _misfit(shape: Shape, value: object) -> str:
    """Return why a default is not of a type; nothing if it is."""
    if shape.kind == "union":
        return _misfit(shape.branches[0], value) if shape.branches else "has no type to be of"
    if shape.kind in {"bytes", "fixed"}:
        # fastavro hands the JSON's text to the reader as it is, where it expects bytes.
        return f"is {shape.logical or shape.kind}: readers would get text for it"
    if shape.kind == "record":
        return _misfit_record(shape, value)
    if shape.kind in {"array", "map"}:
        return _misfit_many(shape, value)
    fits = _FITS[shape.kind](shape, value)
    return "" if fits else f"{value!r:.40} is no {_called(shape)}"


def _misfit_record(shape: Shape, value: object) -> str:
    if not isinstance(value, dict):
        return f"{value!r:.40} is no {shape.name}"
    for field in shape.fields:
        if field.name in value:
            wrong = _misfit(field.type, value[field.name])
            if wrong:
                return f"is wrong at {field.name}: {wrong}"
        else:
            # Avro would fill it from the field's own default; fastavro does not.
            return f"lacks {field.name}"
    return ""


def _misfit_many(shape: Shape, value: object) -> str:
    wanted = list if shape.kind == "array" else dict
    if not isinstance(value, wanted) or shape.inner is None:
        return f"{value!r:.40} is no {shape.kind}"
    parts = value if isinstance(value, list) else value.values()
    return next((wrong for part in parts if (wrong := _misfit(shape.inner, part))), "")


def _called(shape: Shape) -> str:
    return f"symbol of {shape.name}" if shape.kind == "enum" else shape.logical or shape.kind


def _is_whole(shape: Shape, value: object) -> bool:
    edge = 1 << _INT_BITS[shape.kind]
    return isinstance(value, int) and not isinstance(value, bool) and -edge <= value < edge


def _is_number(_: Shape, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(shape: Shape, value: object) -> bool:
    if not isinstance(value, str):
        return False
    if shape.logical == "uuid":
        try:
            uuid.UUID(value)
        except ValueError:
            return False
    return True


_FITS: dict[str, Callable[[Shape, object], bool]] = {
    "null": lambda _, value: value is None,
    "boolean": lambda _, value: isinstance(value, bool),
    "int": _is_whole,
    "long": _is_whole,
    "float": _is_number,
    "double": _is_number,
    "string": _is_text,
    "enum": lambda shape, value: value in shape.symbols,
}


def aliases_do_not_collide(place: Place) -> Iterator[Problem]:
    """Refuse a name that stands for two fields."""
    owners: dict[str, str] = {field.name: field.name for field in place.shape.fields}
    for field in place.shape.fields:
        for alias in field.aliases:
            if alias in owners:
                yield Problem(
                    below(place.path, field.name),
                    f"its alias {alias} is also a name of {owners[alias]}"
                    if owners[alias] != field.name else f"its alias {alias} is its name already",
                    f"delete the alias {alias} here",
                )
            owners.setdefault(alias, field.name)


def union_branches_differ(place: Place) -> Iterator[Problem]:
    """Refuse a union whose branches a reader cannot tell apart."""
    if place.shape.kind != "union":
        return
    labels = [branch.label for branch in place.shape.branches]
    if not labels:
        yield Problem(place.path, "the list of types is empty", "name at least one type")
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        yield Problem(place.path, f"{label} is twice in the list of types", "delete one of them")
    if "union" in labels:
        yield Problem(place.path, "a list of types stands in a list of types",
                      "make it one list")


PLACE_RULES: tuple[Callable[[Place], Iterator[Problem]], ...] = (
    enums_have_defaults,
    defaults_fit,
    aliases_do_not_collide,
    union_branches_differ,
)


def is_avro(version: Version) -> Iterator[Problem]:
    """Refuse what is no schema at all."""
    try:
        _ = version.shape
    except NotAvroError as error:
        yield Problem(error.path, error.message, error.remedy)


def record_is_the_entrys(family: Family, version: Version) -> Iterator[Problem]:
    """Refuse a record that is not the one that domains.toml names."""
    wanted = (family.entry or {}).get("record")
    if family.is_event and wanted != version.shape.name:
        yield Problem("", f"the record is {version.shape.name}, domains.toml says {wanted}",
                      f"name the record in the file and in [{family.domain}] the same")


def envelope_is_whole(family: Family, version: Version) -> Iterator[Problem]:
    """Refuse an event without the common fields, or with other types for them."""
    if not family.is_event:
        return
    for name, wanted in ENVELOPE.items():
        field = version.shape.field(name)
        if field is None:
            yield Problem(name, "this field of the common envelope is missing",
                          "copy the envelope's fields from another domain's newest version")
        elif _spelled(field.type) != _spelled(parse(wanted)):
            yield Problem(name, f"it is {_spelled(field.type)}, not {_spelled(parse(wanted))}",
                          "give it the type that it has in the other domains")


def _spelled(shape: Shape) -> str:
    if shape.kind == "union":
        return " or ".join(sorted(map(_spelled, shape.branches)))
    return f"{shape.kind} ({shape.logical})" if shape.logical else shape.name or shape.kind


VERSION_RULES: tuple[Callable[[Family, Version], Iterator[Problem]], ...] = (
    record_is_the_entrys,
    envelope_is_whole,
)


def files_can_be_read(family: Family) -> Iterator[Problem]:
    """Refuse a file that is no version."""
    for file, message in family.problems:
        yield Problem("", f"{file}: {message}", "mend, rename or delete it")


def versions_have_no_gaps(family: Family) -> Iterator[Problem]:
    """Refuse a gap in v1, v2, v3, ..."""
    unreadable = [int(match[1]) for file, _ in family.problems
                  if (match := re.fullmatch(r"v(\d+)\.avsc", file))]
    numbers = sorted([*(version.number for version in family.versions), *unreadable])
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    for number in missing:
        yield Problem("", f"v{number} is missing",
                      f"restore v{number}.avsc: events of that version may be anywhere")


def versions_differ(family: Family) -> Iterator[Problem]:
    """Refuse a version that brings nothing new: the registry would give it no id of its own."""
    first: dict[str, Version] = {}
    for version in family.versions:
        same = first.setdefault(version.identity, version)
        if same is not version:
            yield Problem(
                "", f"{version.label} says the same as {same.label}, but for docs, aliases or an"
                " enum's default", f"delete {version.label}.avsc; docs may be mended in place",
            )


def entry_names_fields(family: Family) -> Iterator[Problem]:
    """Refuse an entry in domains.toml that names fields which the newest version does not have."""
    if family.entry is None or not family.versions:
        return
    actions = family.entry.get("event_types")
    if not isinstance(actions, list) or not actions:
        yield Problem("event_types", f"[{family.domain}] names no event types",
                      'write event_types = ["created"] in domains.toml')
    names = {str(entry.get("name")) for entry in family.versions[-1].schema["fields"]
             if isinstance(entry, dict)}
    entry = family.entry
    for key, wanted in (("text", entry.get("text", [])), ("errors", entry.get("errors", {})),
                        ("columns", dict(entry.get("columns", {})).values())):
        for name in wanted:
            if name not in names:
                yield Problem(
                    str(name), f"{key} in domains.toml names a field that"
                    f" {family.versions[-1].label} does not have",
                    f"mend [{family.domain}] in domains.toml, or the field's name",
                )


FAMILY_RULES: tuple[Callable[[Family], Iterator[Problem]], ...] = (
    files_can_be_read,
    versions_have_no_gaps,
    versions_differ,
    entry_names_fields,
)
