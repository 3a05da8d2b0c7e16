"""The long forms of the fault tests in tests/integration/test_ingest.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.ingest import running_ingest
from tests.kit.ingest_faults import check_kills, check_registry_outage, send_mutants
from tests.kit.stack import TestStack


@pytest.fixture(scope="module")
def ingest(stack: TestStack) -> Iterator[TestStack]:
    """Yield the whole stack with ingest running."""
    with running_ingest(stack):
        yield stack


def test_200_000_events_while_everything_is_killed_in_turn(
    ingest: TestStack, tmp_path: Path
) -> None:
    check_kills(ingest, tmp_path, ["taskmanager", "jobmanager", "kafka"], count=200_000, seed=61)


def test_100_000_mutants(ingest: TestStack, tmp_path: Path) -> None:
    send_mutants(ingest, tmp_path, 100_000, seed=62)


def test_the_registry_away_for_30_seconds(ingest: TestStack, tmp_path: Path) -> None:
    check_registry_outage(ingest, tmp_path, seconds=30, count=20_000)
