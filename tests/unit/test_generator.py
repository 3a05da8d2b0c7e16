"""The stream of made-up events: repeatable, linked, and valid under its schemas."""

import json
import uuid
from collections import Counter
from io import BytesIO
from itertools import islice, pairwise
from pathlib import Path
from shutil import copytree

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.events.encoder import Encoder
from control.events.event import Event
from control.events.generator import Generator
from control.events.orders import WITH_REFUNDS
from control.settings import PROJECT_ROOT
from tests.unit.event_kit import NOW, Ids, contract, generator, ticking
from udfs.contract import Contract, load_contract
from udfs.physical import parse_physical

PAYMENT = ("transaction.created", "transaction.authorised")


def events(count: int, seed: int = 1, older: float = 0.3) -> list[Event]:
    return list(islice(iter(generator(seed, older=older).event, None), count))


@pytest.fixture(scope="module")
def many() -> list[Event]:
    return events(8_000)


def test_the_same_seed_makes_the_same_events() -> None:
    assert events(500) == events(500)
    assert events(50, seed=1) != events(50, seed=2)


def test_ids_are_unique_uuids_of_version_four_and_time_goes_on(many: list[Event]) -> None:
    ids = {event.body["event_id"] for event in many}
    assert len(ids) == len(many)
    for text in islice(ids, 200):
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
    times = [event.body["occurred_at"] for event in many]
    assert all(earlier < later for earlier, later in pairwise(times))


def test_time_goes_on_when_the_clock_does_not() -> None:
    stopped = Generator(contract(), 1, 5, clock=lambda: NOW)
    times = [stopped.event().body["occurred_at"] for _ in range(10)]
    assert times == list(range(NOW, NOW + 10))


def test_an_effect_names_its_cause_and_keeps_its_correlation(many: list[Event]) -> None:
    known: dict[str, Event] = {}
    caused = 0
    for event in many:
        body = event.body
        if body["causation_id"] is not None:
            caused += 1
            # It came before: nothing is caused by what comes later.
            cause = known[body["causation_id"]].body
            assert body["correlation_id"] == cause["correlation_id"]
            assert body["tenant_id"] == cause["tenant_id"]
            assert body["trace_context"].split("-")[1] == cause["trace_context"].split("-")[1]
        known[body["event_id"]] = event
    assert caused > len(many) / 4


def test_orders_go_the_way_of_orders_in_one_version(many: list[Event]) -> None:
    flows: dict[str, list[Event]] = {}
    for event in many:
        if event.domain.name == "transaction":
            flows.setdefault(event.body["correlation_id"], []).append(event)
    ends = Counter[str]()
    for flow in flows.values():
        types = tuple(event.body["event_type"] for event in flow)
        assert types[:2] == PAYMENT[:len(types)]
        for name in ("entity_id", "user_id", "amount", "currency"):
            assert len({event.body[name] for event in flow}) == 1
        assert len({event.version for event in flow}) == 1
        for event in flow:
            assert event.body["status"] == event.body["event_type"].partition(".")[2].upper()
        ends[types[-1]] += 1
        if types[-1] == "transaction.refunded":
            assert types[2] == "transaction.captured"
            assert flow[0].version >= WITH_REFUNDS
    assert ends["transaction.captured"] > ends["transaction.refunded"] > 0
    assert ends["transaction.captured"] > ends["transaction.failed"] > 0


def test_flows_are_interleaved(many: list[Event]) -> None:
    payments = [event for event in many if event.domain.name == "transaction"]
    together = sum(
        one.body["correlation_id"] == next_one.body["correlation_id"]
        for one, next_one in pairwise(payments)
    )
    assert together < len(payments) / 10


def test_a_failed_payment_is_explained_by_its_service(many: list[Event]) -> None:
    failed = {
        event.body["event_id"] for event in many
        if event.body["event_type"] == "transaction.failed"
    }
    said = [
        event for event in many
        if event.domain.name == "system" and event.body["causation_id"] is not None
    ]
    assert said
    assert {event.body["causation_id"] for event in said} <= failed
    assert {event.body["severity"] for event in said} == {"ERROR"}


def test_few_tenants_send_most(many: list[Event]) -> None:
    counts = Counter(event.body["tenant_id"] for event in many)
    assert len(counts) == 20
    assert counts["tenant-0001"] > 10 * counts["tenant-0020"]


def test_every_domain_version_and_event_type_is_there(many: list[Event]) -> None:
    found = {(event.domain.name, event.version) for event in many}
    domains = contract().domains.values()
    assert found == {
        (domain.name, version)
        for domain in domains for version in range(1, len(domain.versions) + 1)
    }
    assert {event.body["event_type"] for event in many} == {
        name for domain in domains for name in domain.event_types
    }


@pytest.mark.parametrize("older", [0.0, 0.3, 1.0])
def test_older_versions_have_the_share_that_was_asked_for(older: float) -> None:
    made = events(4_000, older=older)
    share = sum(event.version < len(event.domain.versions) for event in made) / len(made)
    assert share == pytest.approx(older, abs=0.05)


def test_a_body_has_exactly_the_fields_of_its_version(many: list[Event]) -> None:
    for event in many[:2_000]:
        schema = parse_physical(event.domain.versions[event.version - 1])
        fastavro.schemaless_writer(BytesIO(), schema, event.body, strict=True)


def test_what_is_encoded_is_what_fastavro_reads(many: list[Event]) -> None:
    ids = Ids()
    encoder = Encoder(contract(), ids.register)
    for event in many[:2_000]:
        record, body = ids.decode(encoder.encode(event))
        assert record == event.domain.record
        assert body["event_type"] == event.body["event_type"]
        assert str(body["event_id"]) == event.body["event_id"]
        assert body["occurred_at"].timestamp() * 1e6 == pytest.approx(event.body["occurred_at"])
        if "amount" in body:
            assert 1 <= body["amount"] <= 5_000
            assert -body["amount"].as_tuple().exponent == 2


def test_a_lone_event_has_no_cause_and_no_effect() -> None:
    made = generator()
    alone = [made.lone() for _ in range(500)]
    assert {event.body["causation_id"] for event in alone} == {None}
    effects = [made.event() for _ in range(2_000)]
    assert not {event.body["event_id"] for event in alone} & {
        event.body["causation_id"] for event in effects
    }
    assert made.lone("transaction").body["event_type"] == "transaction.created"


FREIGHT = {
    "type": "record", "name": "Freight", "namespace": "sluice.events",
    "fields": [
        *contract().domains["sluice.events.User"].versions[0]["fields"][:9],
        {"name": "weight", "type": "double"},
        {"name": "pieces", "type": ["null", "int"], "default": None},
        {"name": "mode", "type": {"type": "enum", "name": "Mode", "symbols": ["SEA", "RAIL"]}},
        {"name": "stops", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "due", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9,
                                   "scale": 3}},
        {"name": "labels", "type": {"type": "map", "values": "string"}},
        {"name": "sealed", "type": "boolean"},
        {"name": "port", "type": {"type": "record", "name": "Port", "fields": [
            {"name": "code", "type": {"type": "fixed", "name": "Code", "size": 5}},
        ]}},
    ],
}


@pytest.fixture
def with_freight(tmp_path: Path) -> Contract:
    """Add a domain as a data engineer would: a file and an entry."""
    folder = copytree(PROJECT_ROOT / "schemas", tmp_path / "schemas")
    (folder / "freight").mkdir()
    (folder / "freight" / "v1.avsc").write_text(json.dumps(FREIGHT))
    with (folder / "domains.toml").open("a") as entries:
        entries.write('\n[freight]\nrecord = "sluice.events.Freight"\nevent_types = ["loaded"]\n')
    return load_contract(folder)


def test_a_domain_that_the_generator_has_no_story_for_is_filled_by_its_schema(
    with_freight: Contract
) -> None:
    ids = Ids()
    encoder = Encoder(with_freight, ids.register)
    made = Generator(with_freight, 1, 5, clock=ticking())
    found = [event for event in islice(iter(made.event, None), 1_000)
             if event.domain.name == "freight"]
    assert len(found) > 20
    for event in found:
        record, body = ids.decode(encoder.encode(event))
        assert record == "sluice.events.Freight"
        assert body["event_type"] == "freight.loaded"
        assert body["mode"] in {"SEA", "RAIL"}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(), tenants=st.integers(1, 300), older=st.floats(0, 1))
def test_any_seed_makes_events_that_encode(seed: int, tenants: int, older: float) -> None:
    ids = Ids()
    encoder = Encoder(contract(), ids.register)
    made = generator(seed, tenants, older)
    for _ in range(30):
        event = made.event()
        assert ids.decode(encoder.encode(event))[1]["tenant_id"] == event.body["tenant_id"]
