"""Each job of the pipeline is upgraded under load: both stores hold exactly what was sent."""

from pathlib import Path

import pytest

from tests.kit.ingest import running_ingest
from tests.kit.jobs import running_job
from tests.kit.sink_faults import SinkLoad
from tests.kit.stack import TestStack

SOME = (("search", "last-state"), ("ingest", "savepoint"))
ALL = (("timescale", "savepoint"), *SOME)


@pytest.mark.parametrize("upgrades", [SOME, pytest.param(ALL, marks=pytest.mark.long)],
                         ids=["some", "all"])
def test_upgrades_cost_no_event_in_the_tables(
    stack: TestStack, tmp_path: Path, upgrades: tuple[tuple[str, str], ...]
) -> None:
    stack.ok("db", "migrate")
    with (
        running_ingest(stack), running_job(stack, "timescale"), running_job(stack, "search"),
        SinkLoad(stack, tmp_path, rate=400, seed=9_000) as load,
    ):
        for job, how in upgrades:
            stack.ok("upgrade", job, "--yes", "--watch", "2", "--strategy", how)
        load.finish()
        load.check(300)
