"""The compiled writer writes what fastavro would."""

import struct
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.event_kit import contract
from udfs.avro_parts import number
from udfs.physical import parse_physical
from udfs.record_writer import compile_writer

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": _TEXT,
    "bytes": st.binary(max_size=40),
    "int": st.integers(-2**31, 2**31 - 1),
    "long": st.integers(-2**63, 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "map": st.dictionaries(_TEXT, _TEXT, max_size=4),
}


def _values(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, list):
        return st.none() | _values(kind[1])
    return _VALUES[kind["type"] if isinstance(kind, dict) else kind]


def _records(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {field["name"]: _values(field["type"]) for field in schema["fields"]}
    )


def _by_fastavro(schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, parse_physical(schema), record)
    return out.getvalue()


_CLEAN, _LETTER = contract().clean, contract().dead_letter
_WRITE_CLEAN, _WRITE_LETTER = compile_writer(_CLEAN), compile_writer(_LETTER)


@given(_records(_CLEAN))
def test_clean_records(record: dict[str, Any]) -> None:
    assert _WRITE_CLEAN(record) == _by_fastavro(_CLEAN, record)


@given(_records(_LETTER))
def test_dead_letters(record: dict[str, Any]) -> None:
    assert _WRITE_LETTER(record) == _by_fastavro(_LETTER, record)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 8191, 8192, 8193, 1_000_000])
def test_long_texts(size: int) -> None:
    schema = {"type": "record", "name": "R", "fields": [
        {"name": "a", "type": "string"}, {"name": "b", "type": ["null", "bytes"]},
    ]}
    record = {"a": "x" * size, "b": b"y" * size}
    assert compile_writer(schema)(record) == _by_fastavro(schema, record)


@pytest.mark.parametrize("bits", range(0, 64, 7))
def test_numbers_where_their_length_changes(bits: int) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
    for value in {2**bits - 1, 2**bits, -(2**bits), 2**bits // 2, -(2**bits) // 2 - 1}:
        if -2**63 <= value < 2**63:
            assert number(value) == _by_fastavro(schema, {"a": value})


@pytest.mark.parametrize("kind", ["float", ["string", "null"], ["null", "string", "int"],
                                  {"type": "array", "items": "string"}])
def test_what_it_cannot_write_is_refused_at_once(kind: Any) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "amount", "type": kind}]}
    with pytest.raises(ValueError, match="amount"):
        compile_writer(schema)


def test_a_field_that_is_missing_is_no_default() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}
    with pytest.raises(KeyError):
        compile_writer(schema)({})


def test_an_infinite_duration() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "double"}]}
    assert compile_writer(schema)({"a": float("inf")}) == struct.pack("<d", float("inf"))
