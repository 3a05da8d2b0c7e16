"""Servers die in a row under load: the short form of tests/chaos/test_sinks_whole.py."""

import random
from pathlib import Path

from tests.kit.ingest import running_ingest
from tests.kit.jobs import running_job
from tests.kit.sink_faults import SinkLoad, kill_in_turn
from tests.kit.stack import TestStack

# The JobManager and the broker die in the tests of ingest, Elasticsearch in those of search.
VICTIMS = ("python of timescale", "taskmanager", "postgres")


def test_what_dies_in_a_row_costs_no_event(stack: TestStack, tmp_path: Path) -> None:
    stack.ok("db", "migrate")
    with (
        running_ingest(stack) as ingest, running_job(stack, "timescale") as timescale,
        running_job(stack, "search") as search,
    ):
        jobs = {"ingest": ingest, "timescale": timescale, "search": search}
        with SinkLoad(stack, tmp_path, rate=400, seed=8_000) as load:
            kill_in_turn(stack, jobs, VICTIMS, random.Random(81))
        load.check(300)
