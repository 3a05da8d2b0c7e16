"""Dead letters on their way through ingest again: after a fix, and without one."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.kit import flink
from tests.kit.ingest import produce, running_ingest
from tests.kit.jobs import job_id
from tests.kit.outcome import Outlet
from tests.kit.stack import TestStack


@pytest.fixture(scope="module")
def ingest(stack: TestStack) -> Iterator[TestStack]:
    """Yield the whole stack with ingest running."""
    with running_ingest(stack):
        yield stack


def _letters(stack: TestStack, since: str, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        stack.ok("dlq", "list", "--since", since, "--json", *options)
    )
    return found


def test_a_letter_that_fails_again_counts_its_attempts(ingest: TestStack, tmp_path: Path) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    outlet = Outlet(ingest.settings().kafka_bootstrap)
    manifest = produce(ingest, tmp_path / "sent.jsonl", 300, "--invalid", "0.2", seed=72)
    outlet.check(manifest)
    wanted = ("--reason", "bad_uuid")
    first = _letters(ingest, since, *wanted)
    assert first
    attempts = []
    for attempt in (2, 3):
        outlet = Outlet(ingest.settings().kafka_bootstrap)
        ingest.ok("dlq", "replay", "--since", since, *wanted, "--yes")
        outcome = outlet.read(lambda found: len(found.letters) >= len(first))
        assert len(outcome.letters) == len(first)
        assert {letter["attempt"] for letter in outcome.letters} == {attempt}
        assert all(letter["replay_of"] for letter in outcome.letters)
        attempts.append(outcome.letters)
    assert {letter["payload"] for letter in attempts[0]} == {
        letter["payload"] for letter in attempts[1]
    }
    # Three tries are enough, unless somebody insists.
    outlet = Outlet(ingest.settings().kafka_bootstrap)
    letter = _letters(ingest, since, *wanted)[0]["letter"]
    assert ingest.run("dlq", "replay", letter, "--yes").returncode == 3
    ingest.ok("dlq", "replay", letter, "--yes", "--force")
    outcome = outlet.read(lambda found: len(found.letters) >= 1)
    assert [found["attempt"] for found in outcome.letters] == [4]


def test_a_letter_passes_once_what_it_failed_of_is_mended(
    ingest: TestStack, tmp_path: Path
) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    outlet = Outlet(ingest.settings().kafka_bootstrap)
    manifest = produce(ingest, tmp_path / "sent.jsonl", 600, "--invalid", "0.5", seed=71)
    outlet.check(manifest)
    old = [line for line in manifest.lines if line.get("reason") == "too_old"]
    assert old
    assert len(_letters(ingest, since, "--reason", "too_old")) == len(old)

    # The mend: a century is allowed from now on, so this test is the last one here.
    savepoint = flink.stop_with_savepoint(ingest, job_id(ingest))
    ingest.ok("deploy", "ingest", "--from", savepoint, SLUICE_INGEST_MAX_AGE_DAYS="36500")
    outlet = Outlet(ingest.settings().kafka_bootstrap)
    ingest.ok("dlq", "replay", "--since", since, "--reason", "too_old", "--yes")
    ingest.ok("dlq", "replay", "--since", since, "--reason", "too_old", "--yes")
    outcome = outlet.read(lambda found: len(found.events) >= len(old))
    assert outcome.clean == Counter(line["event_id"] for line in old)
    assert not outcome.letters
    assert _letters(ingest, since, "--reason", "too_old") == []
