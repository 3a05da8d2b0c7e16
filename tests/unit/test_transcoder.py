"""The short way of `ingest` gives what the long way gives, or leaves the message to it."""

import random
from dataclasses import replace
from io import BytesIO
from itertools import islice
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.events.traffic import Shares, Traffic
from tests.kit.mutation import mutate
from tests.unit.event_kit import NOW, contract, generator
from tests.unit.test_ingestion import SECOND, Bench
from udfs.avro_parts import number, sized
from udfs.cleaner import Tenant
from udfs.contract import Contract, Schema
from udfs.ingestion import Cleaned
from udfs.physical import parse_physical
from udfs.rules import TimeLimits, rules_of
from udfs.transcoder import _make_stamp, compile_transcoder
from udfs.wire import HEADER_SIZE, frame

TENANTS = {"tenant-0001": Tenant("Ä & Co", "team", None), "tenant-0002": Tenant()}
LATER = NOW + 100 * SECOND


def both(bench: Bench, message: bytes, received: int = LATER) -> Cleaned | None:
    """Judge a message both ways; return what the short way made of it."""
    ingestion = bench.ingestion
    long = ingestion.judge(message, received, received + 7, TENANTS.get)
    assert ingestion.process(message, received, received + 7, TENANTS.get) == long
    short = ingestion._short.get(message[:HEADER_SIZE])
    if short is None:
        return None
    found = short(message, received, received + 7, TENANTS.get)
    if found is None:
        return None
    assert isinstance(long, Cleaned)
    assert found == long[:4]
    return long


def sound(bench: Bench, count: int, seed: int = 1) -> list[bytes]:
    traffic = Traffic(generator(seed), bench.encoder, Shares(late=0.1), seed, 1_000)
    return [message.value for message in islice(traffic.messages(), count)]


def test_every_sound_message_goes_the_short_way() -> None:
    bench = Bench()
    messages = sound(bench, 1_500)
    assert all(both(bench, message) is not None for message in messages)
    assert len(bench.ingestion._short) == sum(
        len(domain.versions) for domain in contract().domains.values()
    )


def test_whatever_is_done_to_a_message_both_ways_agree() -> None:
    bench = Bench()
    chance = random.Random(5)
    messages = sound(bench, 3_000, seed=2)
    for message in messages[:200]:
        both(bench, message)
    taken = sum(both(bench, mutate(message, chance)) is not None for message in messages)
    # Some mutations harm nothing.
    assert 0 < taken < len(messages)


@pytest.mark.parametrize("shares", [
    Shares(invalid=1.0), Shares(poison=1.0), Shares(duplicates=0.5, out_of_order=0.5),
])
def test_what_the_generator_spoils_is_judged_alike(shares: Shares) -> None:
    bench = Bench()
    traffic = Traffic(generator(3), bench.encoder, shares, 3, 1_000)
    for message in sound(bench, 300):
        both(bench, message)
    for spoiled in islice(traffic.messages(), 1_500):
        both(bench, spoiled.value)


# A domain with a field of each kind that the short way knows, in an older and a newer version.
def _odd_domain() -> Contract:
    known = contract()
    user = known.domains["sluice.events.User"]
    envelope = user.newest["fields"][:9]
    mood = {"type": "enum", "name": "Mood", "symbols": ["GOOD", "BAD"], "default": "GOOD"}
    cost = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 1}
    older: list[dict[str, Any]] = [
        *envelope,
        {"name": "title", "type": "string"}, {"name": "gone", "type": ["null", "double"]},
        {"name": "small", "type": "float"}, {"name": "whole", "type": "int"},
        {"name": "flag", "type": "boolean"}, {"name": "mood", "type": mood},
        {"name": "price", "type": ["null", cost]}, {"name": "note", "type": ["null", "string"]},
        {"name": "duration_ms", "type": "int"},
    ]
    newer: list[dict[str, Any]] = [
        *envelope,
        {"name": "headline", "type": ["null", "string"], "aliases": ["title"], "default": None},
        {"name": "small", "type": "double"}, {"name": "whole", "type": "long"},
        {"name": "flag", "type": "boolean"},
        {"name": "mood", "type": {**mood, "symbols": ["BAD", "GOOD", "ODD"]}},
        {"name": "price", "type": ["null", cost]},
        {"name": "note", "type": ["null", "string"]},
        {"name": "duration_ms", "type": ["null", "double"]},
        {"name": "added", "type": "string", "default": "new"},
        {"name": "level", "type": "int", "default": 3},
        {"name": "nothing", "type": ["null", "int"], "default": None},
    ]
    versions = tuple({**user.newest, "fields": fields} for fields in (older, newer))
    odd = replace(
        user, versions=versions, text=("headline", "note"),
        errors={"mood": frozenset({"BAD"}), "note": frozenset({"wrong"})},
        columns={"amount": "price", "status": "mood"},
    )
    return replace(known, domains={odd.record: odd})


ODD = _odd_domain()
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=90)
maybe = st.none() | texts


@settings(max_examples=150)
@given(
    version=st.integers(0, 1), title=texts, note=maybe | st.just("wrong"),
    small=st.floats(width=32), whole=st.integers(-2**31, 2**31 - 1), flag=st.booleans(),
    mood=st.sampled_from(["GOOD", "BAD"]), price=st.none() | st.binary(min_size=0, max_size=4),
    tenant=st.sampled_from(["tenant-0001", "tenant-0002", "ünknown", "", "t" * 70]),
    cause=st.none() | st.uuids().map(str) | st.uuids().map(lambda name: str(name).upper()),
    age=st.integers(-2 * 3600 * SECOND, 400 * 86_400 * SECOND), source=texts,
)
def test_every_kind_of_field_comes_out_alike(version: int, **values: Any) -> None:
    bench = Bench(known=ODD)
    schema = ODD.domains["sluice.events.User"].versions[version]
    body = {
        "event_id": "6F9619FF-8B86-D011-B42D-00C04FC964FF", "event_type": "user.updated",
        "occurred_at": LATER - values["age"], "tenant_id": values["tenant"], "entity_id": "e",
        "correlation_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff", "source": values["source"],
        "causation_id": values["cause"], "trace_context": values["note"],
        "title": values["title"], "headline": values["title"], "gone": 1.5,
        "small": values["small"], "whole": values["whole"], "flag": values["flag"],
        "mood": values["mood"], "price": values["price"], "note": values["note"],
        "duration_ms": abs(values["whole"]), "added": values["title"], "level": values["whole"],
        "nothing": None,
    }
    message = frame(bench.ids.register(schema), _write(schema, body))
    judged = bench.ingestion.judge(message, LATER, LATER, TENANTS.get)
    taken = both(bench, message)
    # What passes passes the short way, too.
    assert (taken is not None) == isinstance(judged, Cleaned)


def _write(schema: Schema, body: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, parse_physical(schema), body)
    return out.getvalue()


def test_a_rule_that_it_does_not_know_is_not_passed_over() -> None:
    domain = contract().domains["sluice.events.User"]

    def no_mondays(_event: object, _received: int) -> None:
        return None

    rules = rules_of(domain, TimeLimits())
    arguments = TimeLimits(), domain.newest, 2, contract().clean, 1
    assert compile_transcoder(domain, rules, *arguments) is not None
    assert compile_transcoder(domain, (*rules, no_mondays), *arguments) is None


def test_a_type_that_it_does_not_know_goes_the_long_way() -> None:
    domain = contract().domains["sluice.events.User"]
    tags = {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}
    schema = {**domain.newest, "fields": [*domain.newest["fields"], tags]}
    newest = replace(domain, versions=(*domain.versions, schema))
    rules = rules_of(newest, TimeLimits())
    assert compile_transcoder(
        newest, rules, TimeLimits(), schema, 3, contract().clean, 1) is None


def test_a_length_in_more_bytes_than_it_needs_goes_the_long_way() -> None:
    bench = Bench()
    message = bench.encode("user", comment="hello")
    assert both(bench, message) is not None
    longer = message.replace(sized(b"hello"), b"\x8a\x00hello")
    assert longer != message
    assert both(bench, longer) is None


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_a_stamp_is_a_number(moments: list[int]) -> None:
    stamp = _make_stamp()
    for moment in [*moments, *moments, NOW, NOW + 1, NOW + 2**21]:
        assert stamp(moment) == number(moment)
