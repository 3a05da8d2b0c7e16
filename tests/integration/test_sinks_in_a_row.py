"""Everything dies once, in a row, under load: the short form of tests/chaos/test_sinks_whole.py."""

import random
from pathlib import Path

from tests.kit.ingest import running_ingest
from tests.kit.jobs import running_job
from tests.kit.sink_faults import VICTIMS, SinkLoad, kill_in_turn
from tests.kit.stack import TestStack


def test_each_server_dies_once(stack: TestStack, tmp_path: Path) -> None:
    stack.ok("db", "migrate")
    with (
        running_ingest(stack) as ingest, running_job(stack, "timescale") as timescale,
        running_job(stack, "search") as search,
    ):
        jobs = {"ingest": ingest, "timescale": timescale, "search": search}
        with SinkLoad(stack, tmp_path, rate=400, seed=8_000) as load:
            kill_in_turn(stack, jobs, VICTIMS, random.Random(81))
        load.check(300)
