"""Fifty upgrades in a row under load; a kill -9 at every step of an upgrade and of its undoing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.lifecycle import running_workbench
from tests.kit.small_disk import small_disk
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until
from tests.kit.workbench import Workbench

_UPGRADES = 50
_STEPS = ("suspend", "start", "watch")
_BACK = ("halt", "return", "settle")
_WHEN = ("intended", "acted", "done")


def test_fifty_upgrades_in_a_row(
    workbench: Workbench, record_property: Callable[[str, object], None]
) -> None:
    for number in range(2, _UPGRADES + 2):
        workbench.tree.change(version=str(number))
        done = workbench.upgrade("--watch", "2")
        assert done.returncode == 0, f"upgrade {number}: {done.stdout}{done.stderr}"
        print(f"upgrade {number - 1} of {_UPGRADES}", flush=True)
    versions = workbench.numbers.verify(300)
    assert str(_UPGRADES + 1) in versions
    record_property("numbers", workbench.numbers.sent)
    record_property("versions_that_answered", len(versions))


def test_a_version_that_crashes_after_two_minutes(workbench: Workbench) -> None:
    workbench.tree.change(version="2", crash_after=120)
    done = workbench.upgrade("--watch", "150")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "taken back" in done.stderr
    assert len(workbench.live()) == 1
    assert set(workbench.numbers.verify(180)) == {"1", "2"}


def test_the_folder_of_savepoints_is_full(stack: TestStack, tmp_path: Path) -> None:
    with running_workbench(stack, tmp_path, keys=2_000, ballast=5_000) as workbench:
        wait_until("10 MB of state", lambda: workbench.numbers.sent > 5_000, 60, 0.5)
        [before] = workbench.live()
        workbench.tree.change(version="2")
        folder = Path(stack.home) / "savepoints" / workbench.job
        with small_disk(folder, 2**20) as grow:
            done = workbench.upgrade()
            assert done.returncode == 1, done.stdout + done.stderr
            assert "No space left on device" in done.stderr
            assert [job.id for job in workbench.live()] == [before.id]
            grow()
            done = workbench.upgrade()
            assert done.returncode == 0, done.stdout + done.stderr
            assert set(workbench.numbers.verify()) == {"1", "2"}
            # What lies on that disk is gone with it.
            workbench.ok("cancel", workbench.job)


@pytest.mark.parametrize("moment", [f"{step}-{when}" for step in _STEPS for when in _WHEN])
def test_killed_at_every_moment(workbench: Workbench, moment: str) -> None:
    workbench.tree.change(version="2")
    assert workbench.upgrade(SLUICE_FAULT=moment).returncode == -9
    workbench.ok("resume", workbench.job)
    assert len(workbench.live()) == 1
    assert "2" in workbench.numbers.verify()


@pytest.mark.parametrize("moment", [f"{step}-{when}" for step in _BACK for when in _WHEN])
def test_killed_at_every_moment_of_taking_back(workbench: Workbench, moment: str) -> None:
    workbench.tree.change(version="2", crash_after=0)
    assert workbench.upgrade(SLUICE_FAULT=moment).returncode == -9
    assert workbench.run("resume", workbench.job).returncode == 1
    assert len(workbench.live()) == 1
    assert set(workbench.numbers.verify()) == {"1"}


@pytest.mark.parametrize("moment", [f"{step}-{when}" for step in _STEPS for when in _WHEN])
def test_rollback_killed_at_every_moment(workbench: Workbench, moment: str) -> None:
    workbench.tree.change(version="2")
    assert workbench.upgrade("--watch", "0").returncode == 0
    killed = workbench.run("rollback", workbench.job, "--yes", "--watch", "0", SLUICE_FAULT=moment)
    assert killed.returncode == -9
    workbench.ok("resume", workbench.job)
    assert len(workbench.live()) == 1
    assert set(workbench.numbers.verify()) == {"1", "2"}


@pytest.mark.parametrize("second", [
    f"{step}-{when}" for step in _BACK for when in ("intended", "acted")
])
def test_an_undoing_killed_at_every_moment(workbench: Workbench, second: str) -> None:
    workbench.tree.change(version="2")
    assert workbench.upgrade(SLUICE_FAULT="start-acted").returncode == -9
    undone = workbench.run("resume", workbench.job, "--undo", SLUICE_FAULT=second)
    assert undone.returncode == -9
    assert workbench.run("resume", workbench.job).returncode == 1
    assert len(workbench.live()) == 1
    assert "1" in workbench.numbers.verify()
