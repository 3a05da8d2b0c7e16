"""A command killed at any moment of an upgrade: resuming ends in one good job, or undoing does."""

import pytest

from control.errors import RefusedError
from control.lifecycle.back import TakenBackError
from control.lifecycle.words import OperationState
from tests.kit.fake_flink_job import FakeJob
from tests.unit.lifecycle_kit import KilledError, Plane, last_operation

_STEPS = ("suspend", "start", "watch")
_BACK = ("halt", "return", "settle")
_WHEN = ("intended", "acted", "done")

FORWARD = [f"{step}-{when}" for step in _STEPS for when in _WHEN]
BACK = [f"{step}-{when}" for step in _BACK for when in _WHEN]


def ready() -> Plane:
    plane = Plane()
    plane.deploy()
    plane.wait(20)
    return plane


def crash_version_two(plane: Plane, after: float = 5) -> None:
    def give(job: FakeJob) -> None:
        if job.user_config["version"] == "2":
            plane.flink.crash(job.id, "java.lang.RuntimeException: it broke", after=after,
                              restarts=0)

    plane.flink.when_submitted = give


def killed(plane: Plane, moment: str) -> None:
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.upgrade()
    # What was under way in Flink goes on without anybody watching.
    plane.wait(7)


def test_an_upgrade_passes_every_moment() -> None:
    plane = ready()
    plane.reached.clear()
    plane.upgrade()
    assert plane.reached == FORWARD


def test_a_taken_back_upgrade_passes_every_moment() -> None:
    plane = ready()
    crash_version_two(plane)
    plane.reached.clear()
    with pytest.raises(TakenBackError):
        plane.upgrade()
    assert plane.reached[-len(BACK):] == BACK
    assert "watch-failed" in plane.reached


@pytest.mark.parametrize("moment", FORWARD)
def test_resume_finishes(moment: str) -> None:
    plane = ready()
    killed(plane, moment)
    plane.resume()
    assert plane.live_version() == "2"
    assert len(plane.flink.live("counting")) == 1
    assert last_operation(plane).state is OperationState.DONE
    assert [one.state.value for one in plane.deployments.all("counting")] == ["live", "ended"]


@pytest.mark.parametrize("moment", FORWARD)
def test_undo_goes_back(moment: str) -> None:
    plane = ready()
    killed(plane, moment)
    plane.resume(undo=True)
    plane.wait(5)
    assert plane.live_version() == "1"
    assert len(plane.flink.live("counting")) == 1
    assert last_operation(plane).state is OperationState.UNDONE


@pytest.mark.parametrize(("moment", "after"), [
    *((moment, 5) for moment in (*FORWARD[:7], "watch-failed", *BACK)),
    *((moment, 0) for moment in (*FORWARD[:4], "start-failed", *BACK)),
])
def test_resume_finishes_taking_back(moment: str, after: float) -> None:
    plane = ready()
    crash_version_two(plane, after)
    killed(plane, moment)
    with pytest.raises(TakenBackError):
        plane.resume()
    plane.wait(5)
    assert plane.live_version() == "1"
    assert len(plane.flink.live("counting")) == 1
    assert last_operation(plane).state is OperationState.FAILED
    assert plane.deployments.all("counting")[0].state.value == "live"


@pytest.mark.parametrize("moment", FORWARD[:6])
def test_the_jobmanager_dies_as_well(moment: str) -> None:
    plane = ready()
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.upgrade()
    plane.flink.restart_jobmanager()
    plane.wait(20)
    plane.resume()
    assert plane.live_version() == "2"
    assert len(plane.flink.live("counting")) == 1


def test_nothing_else_is_begun_meanwhile() -> None:
    plane = ready()
    killed(plane, "suspend-done")
    with pytest.raises(RefusedError, match="is not over"):
        plane.deploy()
    assert plane.flink.live("counting") == []
