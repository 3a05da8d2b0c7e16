"""Servers that die in the middle of an upgrade: it goes on, or leaves the old version running."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.kit.lifecycle import running_workbench
from tests.kit.stack import TestStack
from tests.kit.workbench import Workbench

_AWAY_SECONDS = 60


@pytest.mark.long
def test_the_jobmanager_dies_during_the_savepoint(workbench: Workbench) -> None:
    workbench.tree.change(version="2")
    upgrade = workbench.begin("upgrade", workbench.job, "--yes")
    workbench.wait_for_step("suspend")
    workbench.stack.kill("jobmanager")
    workbench.stack.ok("stack", "up")
    assert upgrade.wait(240) == 0
    assert len(workbench.live()) == 1
    assert "2" in workbench.numbers.verify(180)


@pytest.mark.long
def test_the_database_is_away_for_a_minute(workbench: Workbench) -> None:
    workbench.tree.change(version="2")
    upgrade = workbench.begin("upgrade", workbench.job, "--yes", "--watch", "10")
    workbench.wait_for_step("watch")
    os.kill(workbench.stack.pid("postgres"), signal.SIGINT)
    time.sleep(_AWAY_SECONDS)
    workbench.stack.ok("stack", "up")
    assert upgrade.wait(240) == 0
    assert workbench.history()[0]["state"] == "done"
    assert "2" in workbench.numbers.verify(180)


def test_the_savepoint_is_there_although_the_job_failed(
    stack: TestStack, tmp_path: Path
) -> None:
    # In this mode what a function raises at its end fails the task.
    with running_workbench(stack, tmp_path, mode="thread", fails_at_end=True) as workbench:
        workbench.tree.change(version="2", fails_at_end=False)
        done = workbench.upgrade()
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(workbench.live()) == 1
        assert set(workbench.numbers.verify()) == {"1", "2"}


def test_a_folder_that_takes_no_savepoint(workbench: Workbench) -> None:
    [before] = workbench.live()
    home = Path(workbench.stack.home) / "savepoints"
    # Not even root can write below a file.
    (home / workbench.job).write_text("in the way", encoding="utf-8")
    workbench.tree.change(version="2")
    done = workbench.upgrade()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "savepoint failed" in done.stderr
    assert [job.id for job in workbench.live()] == [before.id]
    assert set(workbench.numbers.verify()) == {"1"}
