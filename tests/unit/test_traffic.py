"""Duplicates, late ones, broken ones and poison: the stated shares, and each what it claims."""

import re
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.errors import MisuseError
from control.events.flaws import INVALID, POISON
from control.events.traffic import Kind, Message, Shares
from tests.unit.event_kit import NOW, Ids, contract, traffic
from udfs.contract import Schema
from udfs.decoder import Decoder
from udfs.physical import parse_physical
from udfs.reasons import Reason, RejectedError
from udfs.rules import TimeLimits, rules_of
from udfs.wire import HEADER_SIZE, schema_id

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
MIX = Shares(duplicates=0.1, late=0.05, out_of_order=0.05, invalid=0.04, poison=0.02)
BROKEN = Shares(invalid=0.5, poison=0.5)


@pytest.fixture(scope="module")
def ids() -> Ids:
    return Ids()


@pytest.fixture(scope="module")
def mixed(ids: Ids) -> list[Message]:
    return traffic(12_000, MIX, ids)


@pytest.fixture(scope="module")
def broken(ids: Ids) -> dict[str, list[Message]]:
    """Return many messages of each flaw, by its name."""
    found: dict[str, list[Message]] = {}
    for message in traffic(1_500, BROKEN, ids):
        found.setdefault(str(message.detail), []).append(message)
    return found


def plain(ids: Ids, message: Message) -> dict[str, Any]:
    """Decode without logical types: a bad UUID stays what it is."""
    number = schema_id(message.value)
    assert number is not None
    stream = BytesIO(message.value[HEADER_SIZE:])
    body = fastavro.schemaless_reader(stream, parse_physical(ids.schemas[number]), None)
    assert not stream.read()
    return dict(body)


def test_the_shares_are_as_stated(mixed: list[Message]) -> None:
    counts = Counter(message.kind for message in mixed)
    wanted = {
        Kind.DUPLICATE: 0.1, Kind.LATE: 0.05, Kind.OUT_OF_ORDER: 0.05, Kind.INVALID: 0.04,
        Kind.POISON: 0.02, Kind.EVENT: 0.74,
    }
    for kind, share in wanted.items():
        assert counts[kind] / len(mixed) == pytest.approx(share, abs=0.015), kind


def test_without_shares_all_are_plain_events() -> None:
    assert {message.kind for message in traffic(500)} == {Kind.EVENT}


def test_the_same_seed_makes_the_same_bytes() -> None:
    assert traffic(1_000, MIX) == traffic(1_000, MIX)
    assert traffic(10, seed=1) != traffic(10, seed=2)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 0.2), min_size=5, max_size=5), st.integers(0, 2**32))
def test_any_shares_make_messages_whose_labels_agree(shares: list[float], seed: int) -> None:
    ids = Ids()
    seen: dict[str | None, Message] = {}
    for message in traffic(120, Shares(*shares), ids, seed):
        assert message.kind.expect == {
            Kind.DUPLICATE: "duplicate", Kind.INVALID: "dlq", Kind.POISON: "dlq",
        }.get(message.kind, "clean")
        assert (message.reason is not None) == (message.kind.expect == "dlq")
        if message.kind is Kind.POISON:
            assert (message.event_id, message.tenant_id, message.occurred_at) == (None,) * 3
            continue
        body = plain(ids, message)
        assert body["event_id"] == message.event_id
        assert body["tenant_id"] == message.tenant_id
        assert body["occurred_at"] == message.occurred_at
        assert message.key == body["tenant_id"].encode()
        if message.kind is Kind.DUPLICATE:
            assert seen[message.event_id].value == message.value
        else:
            assert message.event_id not in seen
        seen[message.event_id] = message


@pytest.mark.parametrize("shares", [
    Shares(poison=0.6, invalid=0.5), Shares(duplicates=1.0, out_of_order=0.05),
])
def test_more_than_everything_is_misuse(shares: Shares) -> None:
    with pytest.raises(MisuseError, match="more than everything"):
        shares.check()


def test_everything_is_allowed() -> None:
    Shares(0.2, 0.2, 0.2, 0.2, 0.2).check()
    Shares(duplicates=1.0).check()


def test_duplicates_repeat_near_and_far_ones_with_the_same_bytes(mixed: list[Message]) -> None:
    last: dict[str | None, int] = {}
    first: dict[str | None, Message] = {}
    distances = []
    for position, message in enumerate(mixed):
        if message.kind is Kind.DUPLICATE:
            original = first[message.event_id]
            assert original.kind.expect == "clean"
            assert (original.value, original.key) == (message.value, message.key)
            distances.append(position - last[message.event_id])
        elif message.kind.expect == "clean":
            first[message.event_id] = message
            last[message.event_id] = position
    assert min(distances) <= 2
    assert sum(distance < 100 for distance in distances) > 100
    assert sum(distance > 3_000 for distance in distances) > 30


def test_no_more_is_remembered_than_was_asked_for() -> None:
    messages = traffic(3_000, Shares(duplicates=0.5), remembered=50)
    place: dict[str | None, int] = {}
    sound = 0
    for message in messages:
        if message.kind is Kind.DUPLICATE:
            assert sound - place[message.event_id] <= 50
        else:
            sound += 1
            place[message.event_id] = sound


def test_nothing_but_duplicates_begins_with_an_event() -> None:
    first, *others = traffic(20, Shares(duplicates=1.0))
    assert first.kind is Kind.EVENT
    assert {message.value for message in others} == {first.value}


def test_late_ones_happened_minutes_to_hours_before(mixed: list[Message]) -> None:
    behind = [NOW - (message.occurred_at or 0) for message in mixed if message.kind is Kind.LATE]
    # The clock goes on by a few seconds meanwhile.
    assert min(behind) > 100 * _SECOND
    assert max(behind) < _DAY
    assert sum(age > 3_600 * _SECOND for age in behind) > 100
    assert sum(age < 3_600 * _SECOND for age in behind) > 100


def test_plain_events_are_in_order_and_others_are_seconds_behind(mixed: list[Message]) -> None:
    times = [message.occurred_at or 0 for message in mixed if message.kind is Kind.EVENT]
    assert all(earlier < later for earlier, later in pairwise(times))
    newest = 0
    for message in mixed:
        time = message.occurred_at or 0
        if message.kind is Kind.OUT_OF_ORDER and newest:
            assert 0.9 * _SECOND < newest - time < 16 * _SECOND
        elif message.kind is Kind.EVENT:
            newest = time


def test_nothing_happens_before_its_cause_and_causes_are_never_broken(
    ids: Ids, mixed: list[Message]
) -> None:
    seen: dict[str | None, Message] = {}
    effects = 0
    for message in mixed:
        if message.kind.expect != "clean":
            continue
        seen[message.event_id] = message
        cause = plain(ids, message)["causation_id"]
        if cause is not None:
            effects += 1
            assert (seen[cause].occurred_at or 0) < (message.occurred_at or 0)
    assert effects > 1_000


def test_a_small_run_has_every_flaw() -> None:
    flaws = len(INVALID) + len(POISON)
    found = {message.detail for message in traffic(4 * flaws, BROKEN)}
    assert found == {flaw.name for flaw in (*INVALID, *POISON)}


def test_the_huge_ones_are_few(broken: dict[str, list[Message]]) -> None:
    assert 0 < len(broken["huge"]) < len(broken["truncated"]) / 4


def test_every_broken_message_can_be_told_from_the_others(
    broken: dict[str, list[Message]]
) -> None:
    for name, messages in broken.items():
        if name not in {"empty", "short"}:
            assert len({message.value for message in messages}) == len(messages), name


INVALID_CHECKS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "empty_tenant_id": lambda body: body["tenant_id"] == "",
    "bad_event_id": lambda body: not _is_uuid(body["event_id"]),
    "bad_correlation_id": lambda body: not _is_uuid(body["correlation_id"]),
    "years_old": lambda body: NOW - body["occurred_at"] > 700 * _DAY,
    "days_ahead": lambda body: 1.9 * _DAY < body["occurred_at"] - NOW < 400 * _DAY,
    "negative_amount": lambda body: int.from_bytes(body["amount"], "big", signed=True) < 0,
    "bad_currency": lambda body: re.fullmatch("[A-Z]{3}", body["currency"]) is None,
    "unknown_event_type": lambda body: body["event_type"] not in {
        name for domain in contract().domains.values() for name in domain.event_types
    },
}


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


@pytest.mark.parametrize("name", [flaw.name for flaw in INVALID])
def test_an_invalid_event_decodes_and_breaks_its_rule_alone(
    name: str, ids: Ids, broken: dict[str, list[Message]]
) -> None:
    for message in broken[name]:
        body = plain(ids, message)
        for other, breaks in INVALID_CHECKS.items():
            if other in {"negative_amount", "bad_currency"} and "amount" not in body:
                continue
            assert breaks(body) == (other == name), (other, body)


def _raises(ids: Ids, message: Message) -> bool:
    try:
        plain(ids, message)
    except (EOFError, IndexError, UnicodeDecodeError, AssertionError):
        return True
    return False


def _number(message: Message) -> int:
    number = schema_id(message.value)
    assert number is not None
    return number


POISON_CHECKS: dict[str, Callable[[Ids, Message], bool]] = {
    "random_bytes": lambda _, message: message.value[0] != 0 and len(message.value) >= 5,
    "empty": lambda _, message: message.value == b"",
    "short": lambda _, message: 0 < len(message.value) < 5 and message.value[0] == 0,
    "wrong_magic": lambda ids, message: message.value[0] != 0 and bool(
        plain(ids, _with_value(message, b"\x00" + message.value[1:]))
    ),
    "truncated": lambda ids, message: _number(message) in ids.schemas and _raises(ids, message),
    "trailing": lambda ids, message: _number(message) in ids.schemas and _raises(ids, message),
    "bad_length": lambda ids, message: _number(message) in ids.schemas and _raises(ids, message),
    "bad_text": lambda ids, message: _number(message) in ids.schemas and _raises(ids, message),
    "unknown_id": lambda ids, message: _number(message) not in ids.schemas,
    "wrong_id": lambda ids, message: ids.decode(message.value)[0] == "sluice.reference.Tenant",
    "huge": lambda ids, message: (
        _number(message) in ids.schemas and 1.4 * 2**20 < len(message.value) < 2.6 * 2**20
    ),
}


def _with_value(message: Message, value: bytes) -> Message:
    return Message(message.key, value, message.kind, None, None, None, None)


@pytest.mark.parametrize("name", [flaw.name for flaw in POISON])
def test_poison_is_what_it_claims(
    name: str, ids: Ids, broken: dict[str, list[Message]]
) -> None:
    for message in broken[name]:
        assert POISON_CHECKS[name](ids, message), message.value[:40]


def test_ingest_gives_the_reasons_that_the_manifest_expects(
    ids: Ids, broken: dict[str, list[Message]], mixed: list[Message]
) -> None:
    def find(number: int) -> Schema:
        if number not in ids.schemas:
            raise RejectedError(Reason.UNKNOWN_SCHEMA, str(number))
        return ids.schemas[number]

    decoder = Decoder(contract(), find)
    rules = {
        name: rules_of(domain, TimeLimits()) for name, domain in contract().domains.items()
    }

    def judge(message: Message) -> str | None:
        try:
            form, event = decoder.decode(message.value)
        except RejectedError as error:
            return error.reason.value
        assert form.domain is not None
        for rule in rules[form.domain.record]:
            complaint = rule(event, NOW)
            if complaint is not None:
                return complaint[0].value
        return None

    for message in [*(one for many in broken.values() for one in many), *mixed[:4_000]]:
        assert judge(message) == message.reason, message.detail
