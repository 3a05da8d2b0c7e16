"""The compiled writers write what fastavro writes."""

from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.events.writers import record_writer
from udfs.contract import Schema
from udfs.physical import parse_physical

ENUM = {"type": "enum", "name": "Mode", "symbols": ["SEA", "RAIL", "ROAD"]}
KINDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": ("string", st.text()),
    "raw": ("bytes", st.binary()),
    "small": ("int", st.integers(-2**31, 2**31 - 1)),
    "large": ({"type": "long", "logicalType": "timestamp-micros"},
              st.integers(-2**63, 2**63 - 1)),
    "exact": ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
              st.binary(min_size=1)),
    "real": ("double", st.floats(allow_nan=False)),
    "flag": ("boolean", st.booleans()),
    "mode": (ENUM, st.sampled_from(ENUM["symbols"])),
    "maybe_text": (["null", "string"], st.none() | st.text()),
    "maybe_mode": (["null", {**ENUM, "name": "Other"}], st.none() | st.sampled_from(["SEA"])),
    "maybe_real": (["null", "double"], st.none() | st.floats(allow_nan=False)),
}
# None of these is flat: fastavro writes the record.
DEEP: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "many": ({"type": "array", "items": "string"}, st.lists(st.text(), max_size=3)),
    "named": ({"type": "map", "values": "int"}, st.dictionaries(st.text(), st.integers(0, 9))),
    "either": (["null", "string", "int"], st.none() | st.text() | st.integers(0, 9)),
    "single": ("float", st.integers(0, 100).map(float)),
}


def schema_of(kinds: dict[str, tuple[Any, st.SearchStrategy[Any]]]) -> Schema:
    fields = [{"name": name, "type": kind} for name, (kind, _) in kinds.items()]
    return {"type": "record", "name": "Any", "namespace": "x", "fields": fields}


def bodies(
    kinds: dict[str, tuple[Any, st.SearchStrategy[Any]]]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: values for name, (_, values) in kinds.items()})


def by_fastavro(schema: Schema, body: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, parse_physical(schema), body)
    return out.getvalue()


FLAT = record_writer(schema_of(KINDS))
ALL = {**KINDS, **DEEP}
NOT_FLAT = record_writer(schema_of(ALL))


@settings(max_examples=60, deadline=None)
@given(bodies(KINDS))
def test_a_flat_record_is_written_as_fastavro_writes_it(body: dict[str, Any]) -> None:
    before = dict(body)
    assert FLAT(body) == by_fastavro(schema_of(KINDS), body)
    assert body == before


@settings(max_examples=20, deadline=None)
@given(bodies(ALL))
def test_a_record_that_is_not_flat_is_written_all_the_same(body: dict[str, Any]) -> None:
    assert NOT_FLAT(body) == by_fastavro(schema_of(ALL), body)


@pytest.mark.parametrize(("kind", "default", "read"), [
    ("int", 7, 7), (["null", "string"], None, None), (ENUM, "RAIL", "RAIL"),
    ("bytes", "\u00ff", b"\xff"), ("string", "none", "none"),
])
def test_a_field_that_the_generator_does_not_know_has_its_default(
    kind: Any, default: Any, read: Any
) -> None:
    schema = schema_of({"text": ("string", st.text())})
    schema["fields"].append({"name": "later", "type": kind, "default": default})
    written = record_writer(schema)({"text": "x"})
    found = fastavro.schemaless_reader(BytesIO(written), fastavro.parse_schema(schema), None)
    assert found == {"text": "x", "later": read}
