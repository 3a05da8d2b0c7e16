"""Scaling in place, on a cluster whose scheduler can: no savepoint, no new deployment."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from control.flink import FlinkClient
from tests.kit.lifecycle import running_workbench
from tests.kit.stack import TestStack


@pytest.mark.long
def test_scaled_in_place(small_stack: Callable[..., TestStack], tmp_path: Path) -> None:
    stack = small_stack(SLUICE_FLINK=json.dumps({"jobmanager.scheduler": "adaptive"}))
    stack.ok("stack", "up", "--only", "kafka,registry,postgres,flink")
    with running_workbench(stack, tmp_path) as workbench:
        [before] = workbench.live()
        for width in (2, 1):
            said = workbench.ok("scale", workbench.job, str(width), "--yes")
            assert "scaled in place" in said
            [live] = workbench.live()
            assert live.id == before.id
            with FlinkClient(stack.settings().flink_url) as flink:
                widths = {vertex["parallelism"] for vertex in flink.details(live.id)["vertices"]}
            assert max(widths) == width
        listed = json.loads(workbench.ok("history", workbench.job, "--deployments", "--json"))
        assert [one["state"] for one in listed] == ["live"]
        # The next version has the parallelism of now.
        workbench.ok("scale", workbench.job, "2", "--yes")
        workbench.tree.change(version="2")
        assert workbench.upgrade().returncode == 0
        workbench.numbers.verify()
