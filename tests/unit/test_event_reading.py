"""What a person sees of a message: decoded where it can be, told where it cannot, never a crash."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.events.decoding import Decoded, Decoding
from control.events.reader import Record
from control.events.render import as_json_object, line, page, printable
from control.events.selection import Filter, Finder
from control.events.traffic import Kind, Message, Shares
from tests.unit.event_kit import Ids, contract, traffic
from udfs.contract import Schema
from udfs.wire import frame

LETTER = {
    "payload": b"\x00\x01\x02", "reason": "undecodable", "detail": "cut off", "stage": "ingest",
    "retriable": False, "attempt": 2, "failed_at": datetime(2026, 11, 21, 7, tzinfo=UTC),
    "source_topic": "events.raw", "source_time": datetime(2026, 11, 21, 6, tzinfo=UTC),
    "schema_id": 5, "tenant_id": None,
}
CLEAN = {
    "event_id": "145641dc-7ad6-4f4b-a2ba-213145f506df", "event_type": "transaction.captured",
    "domain": "transaction", "schema_version": 3, "tenant_id": "tenant-0007",
    **dict.fromkeys(
        ("occurred_at", "received_at", "cleaned_at"), datetime(2026, 11, 21, 7, tzinfo=UTC)
    ),
    "entity_id": "order-1", "correlation_id": "145641dc-7ad6-4f4b-a2ba-213145f506df",
    "source": "payments", "amount": Decimal("12.5000"), "currency": "EUR",
    "attributes": {"items": "3", "channel": "web"},
}


@pytest.fixture(scope="module")
def ids() -> Ids:
    return Ids()


@pytest.fixture(scope="module")
def messages(ids: Ids) -> list[Message]:
    shares = Shares(invalid=0.3, poison=0.3)
    return [one for one in traffic(300, shares, ids) if one.detail != "huge"]


@pytest.fixture
def decoding(ids: Ids) -> Decoding:
    return Decoding(ids.schemas.get)


def record(value: bytes | None, key: bytes | None = b"tenant-0001") -> Record:
    return Record("events.raw", 3, 1234, 1_795_219_200_123, key, value)


def encoded(ids: Ids, schema: Schema, fields: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), fields)
    return frame(ids.register(schema), out.getvalue())


def test_events_are_decoded_also_when_they_break_a_rule(
    messages: list[Message], decoding: Decoding
) -> None:
    for message in messages:
        found = decoding.decode(message.value)
        if message.kind is Kind.POISON and message.detail != "wrong_id":
            assert found.fields is None
            assert found.problem
            continue
        assert found.fields is not None
        assert found.problem is None
        if message.kind is Kind.POISON:
            continue
        assert found.fields["event_id"] == message.event_id
        assert round(found.fields["occurred_at"].timestamp() * 1e6) == message.occurred_at
        if "amount" in found.fields:
            assert isinstance(found.fields["amount"], Decimal)
            assert (found.fields["amount"] < 0) == (message.detail == "negative_amount")


def test_every_message_has_a_line_a_page_and_json(
    messages: list[Message], decoding: Decoding
) -> None:
    for message in messages:
        at = record(message.value)
        found = decoding.decode(message.value)
        shown = line(at, found)
        assert "\n" not in shown
        assert shown.isprintable()
        if found.fields is None:
            assert "undecodable" in shown
            assert message.value[:8].hex() in shown
        elif "event_type" in found.fields:
            assert found.fields["event_type"] in shown
            assert found.fields["tenant_id"] in shown
        assert "partition 3, offset 1,234" in page(at, found)
        content = json.loads(json.dumps(as_json_object(at, found)))
        assert (content["topic"], content["partition"], content["offset"]) == (
            "events.raw", 3, 1234
        )
        assert ("fields" in content) != ("problem" in content)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.none(), st.integers(0, 12), st.booleans())
def test_no_bytes_crash_it(value: bytes | None, number: int, framed: bool) -> None:
    schemas = dict(enumerate([
        schema for domain in contract().domains.values() for schema in domain.versions
    ] + [contract().clean, contract().dead_letter], 1))
    if framed and value is not None:
        value = frame(number, value)
    found = Decoding(schemas.get).decode(value)
    at = record(value, value)
    assert line(at, found).isprintable()
    assert page(at, found)
    json.dumps(as_json_object(at, found))


@pytest.mark.parametrize(("value", "problem"), [
    (None, "no value"), (b"", "empty"), (b"\x00\x01", "too short"), (b"hello", "first byte"),
    (b"\x00\x00\x00\x00\x63x", "the registry has no schema 99"),
])
def test_what_is_not_a_registered_message_is_named(value: bytes | None, problem: str) -> None:
    assert problem in str(Decoding(lambda _: None).decode(value).problem)


@pytest.mark.parametrize("schema", [
    {}, {"type": "enum"}, {"type": "record", "name": "X"},
    {"type": "record", "name": "X", "fields": [{"name": "x", "type": "nonsense"}]},
    {"type": "record", "name": "X", "fields": [{"name": "x", "type": ["null", "X"]}]},
    {"type": "record", "name": "X", "fields": [
        {"name": "x", "type": {"type": "array", "items": "null"}},
    ]},
])
def test_a_schema_that_cannot_be_used_is_told(schema: Schema) -> None:
    found = Decoding(lambda _: schema).decode(frame(1, b"\x00\x00"))
    assert found.fields is None
    assert "schema 1" in str(found.problem)


def test_the_registry_is_asked_once_for_each_schema() -> None:
    asked: list[int] = []

    def find(number: int) -> None:
        asked.append(number)

    decoding = Decoding(find)
    for _ in range(5):
        decoding.decode(frame(8, b"x"))
    assert asked == [8]


def test_a_time_beyond_the_calendar_stays_a_number(ids: Ids) -> None:
    schema = {"type": "record", "name": "T", "fields": [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ]}
    out = BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, 2**62)
    found = Decoding(lambda _: schema).decode(frame(1, out.getvalue()))
    assert found.fields == {"at": 2**62}
    assert str(2**62) in page(record(b""), found)


def test_a_clean_event_shows_its_columns_and_its_attributes(ids: Ids, decoding: Decoding) -> None:
    value = encoded(ids, contract().clean, CLEAN)
    shown = line(record(value), decoding.decode(value))
    assert shown.split("  ")[:4] == [
        "2026-11-21 07:00:00.000000", "transaction.captured", "tenant-0007", "order-1",
    ]
    for part in ("amount=12.5000", "currency=EUR", "items=3", "channel=web"):
        assert part in shown


def test_a_dead_letter_shows_its_reason_and_its_first_bytes(ids: Ids, decoding: Decoding) -> None:
    value = encoded(ids, contract().dead_letter, LETTER)
    shown = line(record(value), decoding.decode(value))
    assert "dead letter: undecodable" in shown
    assert "cut off" in shown
    assert "attempt=2" in shown
    assert "000102 (3 bytes)" in shown
    assert as_json_object(record(value), decoding.decode(value))["fields"]["payload"] == "000102"


def test_nothing_in_an_event_reaches_the_terminal_as_a_command(
    ids: Ids, decoding: Decoding
) -> None:
    value = encoded(ids, contract().clean, {
        **CLEAN, "entity_id": "a\x1b[31mb\r\n", "attributes": {"k\x07": "\x9bx"},
    })
    at, found = record(value), decoding.decode(value)
    assert line(at, found).isprintable()
    assert "\\x1b[31m" in line(at, found)
    assert all(part.isprintable() for part in page(at, found).split("\n"))
    assert printable("Zürich €") == "Zürich €"


EVENT = Decoded(1, "x", {"event_type": "user.updated", "tenant_id": "t1"})


@pytest.mark.parametrize(("wish", "decoded", "taken"), [
    (Filter(), Decoded(problem="empty"), True),
    (Filter(tenant="t1"), Decoded(problem="empty"), False),
    (Filter(tenant="t1"), EVENT, True),
    (Filter(tenant="t2"), EVENT, False),
    (Filter(domain="user"), EVENT, True),
    (Filter(domain="use"), EVENT, False),
    (Filter(event_type="user.updated", domain="user"), EVENT, True),
    (Filter(event_type="user.updated", domain="system"), EVENT, False),
    (Filter(domain="user"), Decoded(1, "x", {"reason": "empty"}), False),
    (Filter(domain="order"), Decoded(1, "x", {"event_type": "a.b", "domain": "order"}), True),
])
def test_filters(wish: Filter, decoded: Decoded, taken: bool) -> None:
    assert wish.takes(decoded) is taken


def test_an_event_is_found_by_its_own_id_not_by_those_it_names(
    ids: Ids, decoding: Decoding
) -> None:
    messages = [record(message.value) for message in traffic(800, ids=ids)]
    effect = next(
        fields for found in messages
        if (fields := decoding.decode(found.value).fields) and fields["causation_id"]
    )
    for wanted in (effect["event_id"], effect["causation_id"], effect["event_id"].upper()):
        finder = Finder(wanted, decoding)
        hits = [found for found in messages if finder.wants(found)]
        assert len(hits) == 1
        found_fields = decoding.decode(hits[0].value).fields
        assert found_fields is not None
        assert found_fields["event_id"] == wanted.lower()
    assert not Finder(effect["correlation_id"], decoding).wants(record(None))
