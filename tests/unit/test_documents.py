"""Documents of canonical records: what they say, and that both ways of making them agree."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from math import isfinite
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.clean_kit import clean_traffic, message, records
from tests.unit.event_kit import Ids, contract
from udfs.document_decoder import DocumentDecoder
from udfs.document_text import Parts, compile_document
from udfs.documents import DocumentMaker
from udfs.reasons import Reason, RejectedError
from udfs.wire import frame

SCHEMA = contract().clean
SHORT, LONG = compile_document(SCHEMA), DocumentDecoder(SCHEMA)
MAKER = DocumentMaker(SCHEMA)
SOUND = clean_traffic(200, Ids())


def _said(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, float | Decimal):
        # JSON knows no infinity.
        return float(value) if isfinite(value) else None
    return value


def _by(way: Any, value: bytes) -> Any:
    """Return what a way makes of a message, in a form that can be compared."""
    try:
        parts: Parts = way(value)
    except RejectedError as error:
        return error.reason
    return parts[:3], json.loads(parts.source)


@given(records)
def test_a_document_says_what_the_record_says(record: dict[str, Any]) -> None:
    made = MAKER.document(message(record), -10**6)
    found = json.loads(made.source)
    assert all(0 <= found.pop(half) < 2**24 for half in ("digest_high", "digest_low"))
    assert found == {name: _said(value) for name, value in record.items() if value is not None}
    action = json.loads(made.action)["index"]
    assert action["_id"] == record["event_id"]
    assert action["_index"] == f"events-{record['occurred_at']:%Y.%m.%d}"
    passed = record["cleaned_at"] - datetime(1970, 1, 1, tzinfo=UTC)
    assert action["version"] == passed.days * 86_400_000_000 + (
        passed.seconds * 1_000_000 + passed.microseconds
    )


@pytest.mark.parametrize("occurred_at", [2**62, -2**62])
def test_a_time_that_no_calendar_knows_is_refused(occurred_at: int) -> None:
    fields = [{**field, "type": "long"} if field["name"] == "occurred_at" else field
              for field in SCHEMA["fields"]]
    maker = DocumentMaker({**SCHEMA, "fields": fields})
    body = bytearray(SOUND[0])
    plain = DocumentDecoder({**SCHEMA, "fields": fields}).parts(SOUND[0]).occurred_at
    old, new = encode_long(plain), encode_long(occurred_at)
    assert body.count(old) >= 1
    at = body.index(old)
    body[at:at + len(old)] = new
    with pytest.raises(RejectedError) as refused:
        maker.document(bytes(body), -10**6)
    assert refused.value.reason is Reason.UNDECODABLE


def encode_long(value: int) -> bytes:
    out = BytesIO()
    schemaless_writer(out, "long", value)
    return out.getvalue()


def test_sound_events_go_the_short_way() -> None:
    for value in SOUND:
        short = SHORT(value)
        assert short is not None
        assert _by(SHORT, value) == _by(LONG.parts, value)


@given(records)
def test_the_short_way_says_the_same_or_nothing(record: dict[str, Any]) -> None:
    value = message(record)
    if SHORT(value) is not None:
        assert _by(SHORT, value) == _by(LONG.parts, value)


@given(st.sampled_from(SOUND), st.data())
def test_spoiled_bytes_come_to_the_same_by_both_ways(value: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(value)
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(5, len(value) - 1))] = data.draw(st.integers(0, 255))
    if SHORT(bytes(spoiled)) is not None:
        assert _by(SHORT, bytes(spoiled)) == _by(LONG.parts, bytes(spoiled))


@pytest.mark.parametrize("odd", ['"', "\\", "\n", "\x00", "\x1f", '","_id":"x'])
def test_a_text_that_json_escapes_goes_the_long_way(odd: str) -> None:
    record = _record(source=f"a{odd}b")
    assert SHORT(message(record)) is None
    made = MAKER.document(message(record), -10**6)
    assert json.loads(made.source)["source"] == f"a{odd}b"


def test_texts_that_are_one_only_together_are_refused() -> None:
    # Half of a letter at the end of one field, the other half at the beginning of the next.
    whole = message(_record(tenant_id="aX", entity_id="Yb"))
    halves = whole.replace(b"aX\x00\x00\x00\x04Yb", b"a\xc3\x00\x00\x00\x04\xa4b")
    assert halves != whole
    with pytest.raises(RejectedError) as refused:
        MAKER.document(halves, -10**6)
    assert refused.value.reason is Reason.UNDECODABLE


@given(records, st.binary(min_size=1, max_size=9))
def test_bytes_left_over_are_refused(record: dict[str, Any], more: bytes) -> None:
    with pytest.raises(RejectedError, match="left over"):
        MAKER.document(message(record) + more, -10**6)


@given(st.binary(max_size=400))
@example(b"")
def test_hostile_bytes_never_do_more_than_be_refused(body: bytes) -> None:
    try:
        made = MAKER.document(frame(7, body), -10**6)
    except RejectedError:
        return
    assert json.loads(made.source)


def test_a_schema_of_other_types_goes_the_long_way() -> None:
    other = {**SCHEMA, "fields": [*SCHEMA["fields"], {
        "name": "added", "type": {"type": "array", "items": "string"}}]}
    assert compile_document(other)(SOUND[0]) is None
    without = {**SCHEMA, "fields": [field for field in SCHEMA["fields"]
                                    if field["name"] != "cleaned_at"]}
    assert compile_document(without)(SOUND[0]) is None


def test_what_is_no_longer_kept_is_expired() -> None:
    record = _record(occurred_at=datetime(2026, 1, 2, tzinfo=UTC))
    with pytest.raises(RejectedError, match=r"events-2026\.01\.02 is no longer kept") as refused:
        MAKER.document(message(record), 10**6)
    assert refused.value.reason is Reason.EXPIRED


def _record(**changed: Any) -> dict[str, Any]:
    now = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    texts = {"event_id": "0" * 36, "correlation_id": "1" * 36}
    empty: dict[str, Any] = {}
    for field in SCHEMA["fields"]:
        name, kind = str(field["name"]), field["type"]
        if isinstance(kind, list):
            empty[name] = None
        elif isinstance(kind, dict):
            empty[name] = {} if kind["type"] == "map" else now
        else:
            empty[name] = {"string": "text", "int": 1, "boolean": False}[kind]
    return {**empty, **texts, **changed}
