"""The stream of made-up events: repeatable, linked, and valid under its schemas."""

import io
import json
from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import fastavro
import pytest

from control.events.generator import Event, Generator
from control.registry import record_name, schema_files

START = datetime(2026, 11, 21, tzinfo=UTC)


def _events(count: int, seed: int = 1) -> list[Event]:
    return list(islice(Generator(seed, 20, START).events(), count))


def test_the_same_seed_makes_the_same_events() -> None:
    assert _events(500) == _events(500)
    assert _events(50, seed=1) != _events(50, seed=2)


def test_ids_are_unique_and_time_goes_on() -> None:
    events = _events(2000)
    assert len({event.body["event_id"] for event in events}) == len(events)
    times = [event.body["occurred_at"] for event in events]
    assert times == sorted(times)


def test_a_payment_is_a_chain_of_causes() -> None:
    known = {event.body["event_id"]: event for event in _events(2000)}
    caused = [event for event in known.values() if event.body["causation_id"]]
    assert caused
    for event in caused:
        cause = known[event.body["causation_id"]]
        assert cause.body["correlation_id"] == event.body["correlation_id"]
        assert cause.body["entity_id"] == event.body["entity_id"]


def test_few_tenants_send_most() -> None:
    (_, most), *_, (_, least) = Counter(event.key for event in _events(5000)).most_common()
    assert most > 5 * least


@pytest.mark.parametrize("file", schema_files(), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_domain_encodes(file: Path) -> None:
    schema = json.loads(file.read_text(encoding="utf-8"))
    domain = file.parent.name
    assert record_name(schema).lower() == f"sluice.events.{domain}"
    parsed = fastavro.parse_schema(schema)
    found = [event for event in _events(300) if event.domain == domain]
    assert found
    for event in found:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, event.body, strict=True)
        out.seek(0)
        assert fastavro.schemaless_reader(out, parsed, None) == event.body
