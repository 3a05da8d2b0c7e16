"""`sluice` killed -9 in the middle: one good job in the end, and each number counted once."""

import pytest

from tests.kit.workbench import Workbench

# In the middle of each kind of step; `make chaos` goes through all of them.
SOME = ("suspend-acted", pytest.param("start-intended", marks=pytest.mark.long),
        pytest.param("start-acted", marks=pytest.mark.long))


@pytest.mark.parametrize("moment", SOME)
def test_resume_finishes_an_upgrade(workbench: Workbench, moment: str) -> None:
    workbench.tree.change(version="2")
    killed_then_resumed(workbench, moment)


def killed_then_resumed(workbench: Workbench, moment: str) -> None:
    """Kill an upgrade at a moment; whoever comes next is told, and resuming finishes it."""
    done = workbench.upgrade(SLUICE_FAULT=moment)
    assert done.returncode == -9, done.stdout + done.stderr
    other = workbench.run("stop", workbench.job)
    assert other.returncode == 3
    assert "is not over" in other.stderr
    assert moment.split("-", maxsplit=1)[0] in other.stderr
    workbench.ok("resume", workbench.job)
    assert len(workbench.live()) == 1
    assert set(workbench.numbers.verify()) >= {"2"}
    assert workbench.history()[0]["state"] == "done"


@pytest.mark.long
def test_undo_goes_back(workbench: Workbench) -> None:
    workbench.tree.change(version="2")
    assert workbench.upgrade(SLUICE_FAULT="suspend-done").returncode == -9
    workbench.ok("resume", workbench.job, "--undo")
    assert len(workbench.live()) == 1
    assert set(workbench.numbers.verify()) == {"1"}
    assert workbench.history()[0]["state"] == "undone"


@pytest.mark.long
def test_a_taking_back_is_finished(workbench: Workbench) -> None:
    workbench.tree.change(version="2", crash_after=0)
    assert workbench.upgrade(SLUICE_FAULT="halt-acted").returncode == -9
    done = workbench.run("resume", workbench.job)
    assert done.returncode == 1
    assert "taken back" in done.stderr
    assert len(workbench.live()) == 1
    assert set(workbench.numbers.verify()) == {"1"}


@pytest.mark.long
def test_a_second_operator_is_refused(workbench: Workbench) -> None:
    workbench.tree.change(version="2")
    first = workbench.begin("upgrade", workbench.job, "--yes", "--watch", "15")
    try:
        workbench.wait_for_step("watch")
        second = workbench.run("upgrade", workbench.job, "--yes")
        assert second.returncode == 3
        assert f"upgrade {workbench.history()[0]['number']} of {workbench.job}" in second.stderr
        assert first.wait(120) == 0
    finally:
        if first.poll() is None:
            first.kill()
    assert len(workbench.live()) == 1

