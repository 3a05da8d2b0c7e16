"""Uids of a built graph are brought to those that the job's description names."""

import pytest

from control.errors import SluiceError
from jobs.catalogue import find_job
from jobs.lane import Into, Lane
from jobs.spec import JobSpec
from jobs.uids import part_from_live, settle_numbers
from tests.unit.graph_kit import Graph


@pytest.fixture
def ingest() -> JobSpec:
    """Return a job with a deduplication and a sink that are made from SQL."""
    found = find_job("ingest")
    assert found is not None
    return found


def test_a_graph_of_a_fresh_process_stays_as_it_is(ingest: JobSpec) -> None:
    graph = Graph("events-raw", None, "3_calc", "6_deduplicate", "8_sink", "Committer: 8_sink")
    before = graph.uids
    settle_numbers(graph, ingest)
    assert graph.uids == before


def test_numbers_that_were_counted_on_are_set_back(ingest: JobSpec) -> None:
    graph = Graph("events-raw", None, "13_calc", "16_deduplicate", "18_sink", "Committer: 18_sink")
    settle_numbers(graph, ingest)
    assert graph.uids == ["events-raw", None, "13_calc", "6_deduplicate", "8_sink",
                          "Committer: 8_sink"]


def test_numbers_that_two_jobs_shared_are_told_apart_by_name(ingest: JobSpec) -> None:
    # Both were built at once, in one JobManager.
    graph = Graph("8_deduplicate", "6_sink", "6_constraint-validator")
    settle_numbers(graph, ingest)
    assert graph.uids == ["6_deduplicate", "8_sink", "6_constraint-validator"]


@pytest.mark.parametrize("uids", [("6_deduplicate",), ("6_deduplicate", "7_sink", "8_sink")])
def test_what_cannot_be_told_apart_is_refused(ingest: JobSpec, uids: tuple[str, ...]) -> None:
    with pytest.raises(SluiceError, match=r"built with \d operators `sink`.* names 1"):
        settle_numbers(Graph(*uids), ingest)


def test_transactions_of_a_lane_are_its_own(ingest: JobSpec) -> None:
    lane = Lane("shadow", Into.SHADOW)
    graph = Graph("events-raw", "6_deduplicate", "8_sink", "Committer: events-dlq")
    part_from_live(graph, ingest, lane)
    assert graph.uids == ["events-raw", "6_deduplicate", lane.own("8_sink"),
                          lane.own("Committer: events-dlq")]
