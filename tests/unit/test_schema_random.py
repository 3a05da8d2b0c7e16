"""Random evolutions: legal ones always pass and resolve, illegal ones are always refused."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from control.schema.model import parse
from control.schema.samples import samples
from tests.unit.schema_kit import MICROS, MONEY, Schema, broken_rules, field, record, resolves

NAMES = ("a", "b", "c", "d", "e")
PLAIN = ("boolean", "int", "long", "float", "double", "bytes", "string")
WIDER = {"int": ["long", "float", "double"], "long": ["float", "double"], "float": ["double"],
         "string": ["bytes"]}
NARROWER = {"long": "int", "double": "float", "float": "long", "bytes": "string",
            "string": "int", "int": "boolean", "boolean": "string"}


@st.composite
def types(draw: st.DrawFn, name: str, depth: int = 0) -> object:  # noqa: PLR0911
    kinds = [*PLAIN, "uuid", "micros", "money", "enum", "fixed", "union"]
    kind = draw(st.sampled_from(kinds if depth > 1 else [*kinds, "array", "map", "record"]))
    if kind == "uuid":
        return {"type": "string", "logicalType": "uuid"}
    if kind == "micros":
        return dict(MICROS)
    if kind == "money":
        return dict(MONEY)
    if kind == "enum":
        return {"type": "enum", "name": f"E{name}", "symbols": ["U", "V", "W"], "default": "U"}
    if kind == "fixed":
        return {"type": "fixed", "name": f"F{name}", "size": draw(st.integers(1, 9))}
    if kind == "union":
        return ["null", draw(st.sampled_from(PLAIN))]
    if kind == "array":
        return {"type": "array", "items": draw(types(f"{name}i", depth + 1))}
    if kind == "map":
        return {"type": "map", "values": draw(types(f"{name}v", depth + 1))}
    if kind == "record":
        inner = [field(key, draw(types(f"{name}{key}", depth + 1))) for key in NAMES[:2]]
        return record(*inner, name=f"R{name}")
    return kind


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    return record(*(field(name, draw(types(name))) for name in names))


def _records(kind: object) -> list[Schema]:
    """Return every record in a type."""
    if isinstance(kind, list):
        return [found for branch in kind for found in _records(branch)]
    if not isinstance(kind, dict):
        return []
    inner = [found for key in ("items", "values") for found in _records(kind.get(key))]
    fields = kind.get("fields", [])
    found = [deeper for entry in fields for deeper in _records(entry["type"])]
    return [*([kind] if kind.get("type") == "record" else []), *inner, *found]


def _add(draw: st.DrawFn, target: Schema, number: int) -> None:
    kind = draw(types(f"n{number}{target['name']}"))
    added = (
        field(f"new{number}", kind if isinstance(kind, list) else ["null", kind], default=None)
        if draw(st.booleans()) else field(f"new{number}", "string", default="x")
    )
    target["fields"].insert(draw(st.integers(0, len(target["fields"]))), added)


def _rename(draw: st.DrawFn, target: Schema, number: int) -> None:
    entry = draw(st.sampled_from(target["fields"]))
    entry["aliases"] = [*entry.get("aliases", []), entry["name"]]
    entry["name"] = f"renamed{number}"


def _widen(draw: st.DrawFn, target: Schema, _: int) -> None:
    entry = draw(st.sampled_from(target["fields"]))
    kind = entry["type"]
    if isinstance(kind, str) and "default" not in entry:
        entry["type"] = draw(st.sampled_from([*WIDER.get(kind, [kind]), ["null", kind]]))
    elif isinstance(kind, list) and isinstance(kind[-1], str) and kind[-1] in WIDER:
        entry["type"] = ["null", draw(st.sampled_from(WIDER[kind[-1]]))]


def _more_symbols(draw: st.DrawFn, target: Schema, number: int) -> None:
    entry = draw(st.sampled_from(target["fields"]))
    if isinstance(entry["type"], dict) and entry["type"]["type"] == "enum":
        symbols = draw(st.permutations([*entry["type"]["symbols"], f"S{number}"]))
        entry["type"]["symbols"] = list(symbols)


LEGAL = (_add, _rename, _widen, _more_symbols)


@st.composite
def legal_histories(draw: st.DrawFn) -> list[Schema]:
    versions = [draw(schemas())]
    for number in range(draw(st.integers(1, 3))):
        newest = copy.deepcopy(versions[-1])
        for step in range(draw(st.integers(1, 3))):
            target = draw(st.sampled_from(_records(newest)))
            draw(st.sampled_from(LEGAL))(draw, target, number * 10 + step)
        versions.append(newest)
    return versions


@settings(max_examples=50, deadline=None)
@given(legal_histories())
def test_legal_evolutions_pass_and_every_pair_resolves(versions: list[Schema]) -> None:
    for number, new in enumerate(versions):
        for old in versions[:number]:
            assert broken_rules(old, new) == set()
            assert resolves(old, new)


def _break_removal(draw: st.DrawFn, target: Schema) -> None:
    target["fields"].remove(draw(st.sampled_from(target["fields"])))


def _break_addition(draw: st.DrawFn, target: Schema) -> None:
    target["fields"].append(field("added", draw(st.sampled_from(PLAIN))))


def _break_name(draw: st.DrawFn, target: Schema) -> None:
    target["name"] = f"{target['name']}X"


def _break_type(draw: st.DrawFn, target: Schema) -> None:
    entry = draw(st.sampled_from(target["fields"]))
    kind = entry["type"]
    if isinstance(kind, str):
        entry["type"] = NARROWER[kind]
    elif isinstance(kind, list):
        entry["type"] = kind[1:]
    elif kind["type"] == "enum":
        kind["symbols"].pop()
    elif kind["type"] == "fixed":
        kind["size"] += 1
    elif "precision" in kind:
        kind["scale"] += 1
    else:
        entry["type"] = "null"


ILLEGAL = (_break_removal, _break_addition, _break_name, _break_type)


@st.composite
def illegal_changes(draw: st.DrawFn) -> tuple[Schema, Schema]:
    before = draw(schemas())
    after = copy.deepcopy(before)
    draw(st.sampled_from(ILLEGAL))(draw, draw(st.sampled_from(_records(after))))
    return before, after


@settings(max_examples=50, deadline=None)
@given(illegal_changes())
def test_illegal_evolutions_are_refused(change: tuple[Schema, Schema]) -> None:
    assert broken_rules(*change) != set()


@settings(max_examples=20, deadline=None)
@given(schemas())
def test_samples_are_written_and_read_back(schema: Schema) -> None:
    assert samples(parse(schema))
    assert resolves(schema, schema)
