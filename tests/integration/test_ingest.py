"""Job ingest with real servers: exactly the valid events, each once, and exactly the refused."""

import json
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.kit import flink
from tests.kit.ingest import produce, running_ingest
from tests.kit.ingest_faults import check_kills, check_registry_outage, send_mutants
from tests.kit.jobs import job_id
from tests.kit.outcome import CLEAN, Outlet, decode
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until


@pytest.fixture(scope="module")
def ingest(stack: TestStack) -> Iterator[TestStack]:
    """Yield the whole stack with ingest running; a test that stops it starts it again."""
    with running_ingest(stack):
        yield stack


def _outlet(stack: TestStack) -> Outlet:
    return Outlet(stack.settings().kafka_bootstrap)


def test_it_lets_through_what_the_manifest_says(ingest: TestStack, tmp_path: Path) -> None:
    outlet = _outlet(ingest)
    manifest = produce(ingest, tmp_path / "sent.jsonl", 8_000, "--out-of-order", "0.1",
                       "--duplicates", "0.1", "--late", "0.05", "--invalid", "0.05",
                       "--poison", "0.05", seed=11)
    outcome = outlet.check(manifest)
    sent = {line["event_id"]: line for line in manifest.lines if line["expect"] == "clean"}
    versions = set()
    for value in outcome.events:
        event = decode(CLEAN, value)
        line = sent[str(event["event_id"])]
        assert event["tenant_id"] == line["tenant_id"]
        assert event["occurred_at"].isoformat() == line["occurred_at"].replace("Z", "+00:00")
        assert event["occurred_at"] <= event["cleaned_at"]
        assert event["received_at"] <= event["cleaned_at"] + timedelta(milliseconds=1)
        if event["amount"] is not None:
            assert event["amount"].as_tuple().exponent == -4
            assert event["amount"] == event["amount"].quantize(Decimal("0.01"))
        versions.add((event["domain"], event["schema_version"]))
    assert versions == {
        ("transaction", 1), ("transaction", 2), ("transaction", 3), ("user", 1), ("user", 2),
        ("system", 1), ("system", 2),
    }
    for letter in outcome.letters:
        assert letter["stage"] == "ingest"
        assert letter["source_topic"] == "events.raw"
        assert letter["attempt"] == 1
        assert letter["detail"]
    late = sum(flink.metric(ingest, job_id(ingest), "sluice.events_late"))
    assert late >= sum(line["kind"] == "late" for line in manifest.lines if
                       line["expect"] == "clean")


def test_a_duplicate_of_long_ago_is_known_after_a_savepoint(
    ingest: TestStack, tmp_path: Path
) -> None:
    ingest.ok("tenants", "set", "tenant-0001", "--name", "Before", "--tier", "team")
    first = tmp_path / "first.jsonl"
    wait_until("the tenant's name", lambda: _name_seen(ingest, tmp_path, "Before"), 60)
    outlet = _outlet(ingest)
    manifest = produce(ingest, first, 1_500, "--tenants", "1", seed=21)
    outlet.check(manifest)

    savepoint = flink.stop_with_savepoint(ingest, job_id(ingest))
    outlet = _outlet(ingest)
    # The same seed sends the same ids again.
    produce(ingest, tmp_path / "again.jsonl", 1_500, "--tenants", "1", seed=21)
    new = produce(ingest, tmp_path / "new.jsonl", 500, "--tenants", "1", seed=22)
    ingest.ok("deploy", "ingest", "--from", savepoint)

    outcome = outlet.check(new)
    assert {decode(CLEAN, value)["tenant_name"] for value in outcome.events} == {"Before"}


def _name_seen(stack: TestStack, folder: Path, name: str | None) -> bool:
    outlet = _outlet(stack)
    seed = random.randrange(10**9)
    manifest = produce(stack, folder / f"{seed}.jsonl", 5, "--tenants", "1", seed=seed)
    outcome = outlet.read(lambda found: len(found.events) >= len(manifest.clean), 30)
    return {decode(CLEAN, value)["tenant_name"] for value in outcome.events} == {name}


def test_reference_data_counts_from_when_it_changes(ingest: TestStack, tmp_path: Path) -> None:
    for name in ("One", "Two"):
        ingest.ok("tenants", "set", "tenant-0001", "--name", name, "--region", "eu")
        wait_until(f"the name {name}", lambda: _name_seen(ingest, tmp_path, name), 60)  # noqa: B023
    ingest.ok("tenants", "remove", "tenant-0001")
    wait_until("it is forgotten", lambda: _name_seen(ingest, tmp_path, None), 60)


def test_mutated_messages_harm_nobody(ingest: TestStack, tmp_path: Path) -> None:
    send_mutants(ingest, tmp_path, 4_000, seed=31)


def test_the_registry_away_stops_nothing_for_good(ingest: TestStack, tmp_path: Path) -> None:
    check_registry_outage(ingest, tmp_path, seconds=8, count=4_000)


def test_an_idle_partition_does_not_hold_up_event_time(ingest: TestStack, tmp_path: Path) -> None:
    # One tenant: one partition of eight has something to say.
    job = job_id(ingest)
    first = _watermark(ingest, job)
    produce(ingest, tmp_path / "a.jsonl", 200, "--tenants", "1", "--out-of-order", "0")
    time.sleep(2)
    produce(ingest, tmp_path / "b.jsonl", 200, "--tenants", "1", "--out-of-order", "0")
    wait_until("event time goes on", lambda: _watermark(ingest, job) > first, 60)


def _watermark(stack: TestStack, job: str) -> float:
    values = flink.metric(stack, job, "].currentOutputWatermark")
    return max(values, default=0)


def test_deploy_twice_is_refused(ingest: TestStack) -> None:
    done = ingest.run("deploy", "ingest")
    assert done.returncode == 3
    assert job_id(ingest) in done.stderr
    listed = json.loads(ingest.ok("jobs", "list", "--json"))
    assert [entry["state"] for entry in listed if entry["job"] == "ingest"] == ["running"]


# A seed each: the same events again would all be duplicates.
@pytest.mark.parametrize(
    ("victim", "seed"), [("taskmanager", 41), ("jobmanager", 42), ("kafka", 43)]
)
def test_a_kill_under_load_loses_and_doubles_nothing(
    ingest: TestStack, tmp_path: Path, victim: str, seed: int
) -> None:
    check_kills(ingest, tmp_path, [victim], count=6_000, seed=seed)
