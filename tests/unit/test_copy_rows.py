"""Rows in PostgreSQL's binary form, read back by its documented layout."""

import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.clean_kit import message, records
from tests.unit.event_kit import contract
from udfs.copy_rows import compile_row
from udfs.reasons import Reason, RejectedError
from udfs.wire import frame

COLUMNS = tuple(str(field["name"]) for field in contract().clean["fields"])
ROW = compile_row(contract().clean, COLUMNS)


def _numeric(value: bytes) -> Decimal:
    count, weight, sign, scale = struct.unpack_from(">hhHh", value)
    digits = struct.unpack_from(f">{count}h", value, 8)
    number = sum(
        (Decimal(digit) * Decimal(10_000) ** (weight - place)
         for place, digit in enumerate(digits)), Decimal(0)
    )
    return (-number if sign else number).quantize(Decimal(1).scaleb(-scale))


def _value(kind: Any, value: bytes) -> Any:
    if isinstance(kind, list):
        kind = kind[1]
    name = kind.get("logicalType", kind["type"]) if isinstance(kind, dict) else kind
    readers: dict[str, Callable[[bytes], Any]] = {
        "string": bytes.decode,
        "uuid": lambda raw: str(UUID(bytes=raw)),
        "timestamp-micros": lambda raw: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=struct.unpack(">q", raw)[0]),
        "int": lambda raw: struct.unpack(">i", raw)[0],
        "double": lambda raw: struct.unpack(">d", raw)[0],
        "boolean": lambda raw: bool(raw[0]),
        "decimal": _numeric,
        "map": lambda raw: (raw[:1] == b"\x01" and json.loads(raw[1:])),
    }
    return readers[str(name)](value)


def _read(row: bytes, names: tuple[str, ...] = COLUMNS) -> dict[str, Any]:
    kinds = {str(field["name"]): field["type"] for field in contract().clean["fields"]}
    assert struct.unpack_from(">h", row)[0] == len(names)
    place, found = 2, {}
    for name in names:
        size = struct.unpack_from(">i", row, place)[0]
        place += 4
        found[name] = None if size < 0 else _value(kinds[name], row[place:place + size])
        place += max(0, size)
    assert place == len(row)
    return found


@given(records)
def test_a_row_says_what_the_record_says(record: dict[str, Any]) -> None:
    assert _read(ROW(message(record))) == record


@given(records)
def test_columns_may_be_others_and_in_another_order(record: dict[str, Any]) -> None:
    names = ("attributes", "tenant_id", "event_id")
    row = compile_row(contract().clean, (*names, "added_later"))(message(record))
    size = len(row) - 4
    # A column that the record knows nothing of is NULL.
    assert row[size:] == b"\xff\xff\xff\xff"
    found = _read(struct.pack(">h", 3) + row[2:size], names)
    assert found == {name: record[name] for name in names}


@given(records, st.data())
def test_a_truncated_record_is_refused(record: dict[str, Any], data: st.DataObject) -> None:
    whole = message(record)
    cut = data.draw(st.integers(5, len(whole) - 1))
    with pytest.raises(RejectedError) as refused:
        ROW(whole[:cut])
    assert refused.value.reason is Reason.UNDECODABLE


@given(records, st.binary(min_size=1, max_size=9))
def test_bytes_left_over_are_refused(record: dict[str, Any], more: bytes) -> None:
    with pytest.raises(RejectedError, match="left over"):
        ROW(message(record) + more)


@given(st.binary(max_size=400))
def test_hostile_bytes_never_do_more_than_be_refused(body: bytes) -> None:
    try:
        row = ROW(frame(7, body))
    except RejectedError:
        return
    assert row


@pytest.mark.parametrize("kind", ["bytes", ["null", "string", "long"], {
    "type": "array", "items": "string"}])
def test_a_schema_that_no_table_holds_is_refused(kind: Any) -> None:
    schema = {"type": "record", "name": "X", "fields": [{"name": "a", "type": kind}]}
    with pytest.raises(RejectedError) as refused:
        compile_row(schema, ("a",))
    assert refused.value.reason is Reason.UNUSABLE_SCHEMA
