"""Each job of the pipeline is upgraded under load: both stores hold exactly what was sent."""

from pathlib import Path

from tests.kit.ingest import running_ingest
from tests.kit.jobs import running_job
from tests.kit.sink_faults import SinkLoad
from tests.kit.stack import TestStack


def test_upgrades_cost_no_event_in_the_tables(stack: TestStack, tmp_path: Path) -> None:
    stack.ok("db", "migrate")
    with (
        running_ingest(stack), running_job(stack, "timescale"), running_job(stack, "search"),
        SinkLoad(stack, tmp_path, rate=400, seed=9_000) as load,
    ):
        for job, how in (("timescale", "savepoint"), ("search", "last-state"),
                         ("ingest", "savepoint")):
            stack.ok("upgrade", job, "--yes", "--watch", "2", "--strategy", how)
        load.finish()
        load.check(300)
