"""A new version is tried beside the old one: compared, cleared away, and only then put in place."""

import pytest

from control.lifecycle.back import TakenBackError
from control.lifecycle.decide import Wish
from control.lifecycle.words import OperationState, Origin, Step
from tests.kit.fake_flink_job import FakeJob
from tests.unit.lifecycle_kit import KilledError, Plane, last_operation, running_plane

TRY = Wish(trial_seconds=20)
LANE = "counting-trial-2"


@pytest.fixture
def plane() -> Plane:
    return running_plane()


def cleared(plane: Plane) -> bool:
    return not plane.lanes.there and not plane.flink.live(LANE)


def steps(plane: Plane) -> list[Step]:
    return [row.step for row in plane.ledger.steps(last_operation(plane).number)]


def test_what_writes_the_same_is_put_in_place(plane: Plane) -> None:
    old = plane.flink.live("counting")[0]
    plane.upgrade(wish=TRY)
    assert plane.live_version() == "2"
    assert old.state == "FINISHED"
    assert steps(plane) == [Step.COPY, Step.TRIAL, Step.CLEAR, Step.SUSPEND, Step.START,
                            Step.WATCH]
    assert plane.lanes.compared == 1
    assert cleared(plane)


def test_the_trial_begins_with_a_copy_of_the_state(plane: Plane) -> None:
    seen: list[FakeJob] = []
    plane.flink.when_submitted = seen.append
    plane.upgrade(wish=TRY)
    trial = seen[0]
    taken = next(one for one in plane.savepoints.all("counting") if one.origin is Origin.TRIAL)
    assert trial.name == LANE
    assert trial.savepoint == taken.path


def test_a_moment_of_difference_is_waited_out(plane: Plane) -> None:
    plane.lanes.differing = [7, 3, 0]
    plane.upgrade(wish=TRY)
    assert plane.live_version() == "2"
    assert plane.lanes.compared == 3


def test_what_writes_something_else_changes_nothing(plane: Plane) -> None:
    old = plane.flink.live("counting")[0]
    plane.lanes.differing = [7]
    with pytest.raises(TakenBackError, match=r"7 different.*untouched"):
        plane.upgrade(wish=TRY)
    assert plane.flink.live("counting") == [old]
    assert last_operation(plane).state is OperationState.FAILED
    assert Step.SUSPEND not in steps(plane)
    assert cleared(plane)


def test_a_difference_may_be_meant(plane: Plane) -> None:
    plane.lanes.differing = [7]
    plane.upgrade(wish=Wish(trial_seconds=20, allow_difference=0.07))
    assert plane.live_version() == "2"


def test_what_both_refuse_is_no_fault_of_the_new_one(plane: Plane) -> None:
    def refuse(job: FakeJob) -> None:
        job.vertex_metrics[job.vertices[0].name] = {
            "0.sluice.events_in": 100, "0.sluice.events_refused": 60,
        }

    plane.flink.when_submitted = refuse
    plane.upgrade(wish=TRY)
    assert plane.live_version() == "2"


def test_what_crashes_in_the_trial_changes_nothing(plane: Plane) -> None:
    old = plane.flink.live("counting")[0]

    def crash(job: FakeJob) -> None:
        if job.name == LANE:
            plane.flink.crash(job.id, after=3)

    plane.flink.when_submitted = crash
    with pytest.raises(TakenBackError, match="restarted"):
        plane.upgrade(wish=TRY)
    assert plane.flink.live("counting") == [old]
    assert plane.lanes.compared == 0
    assert cleared(plane)


def moments(wish: Wish, differing: int) -> list[str]:
    plane = Plane()
    plane.deploy()
    plane.lanes.differing = [differing]
    plane.reached.clear()
    try:
        plane.upgrade(wish=wish)
    except TakenBackError:
        assert differing
    return plane.reached


@pytest.mark.parametrize("moment", moments(TRY, 0))
def test_killed_in_a_good_trial_it_is_finished(plane: Plane, moment: str) -> None:
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.upgrade(wish=TRY)
    plane.resume()
    assert plane.live_version() == "2"
    assert len(plane.flink.live("counting")) == 1
    assert cleared(plane)


@pytest.mark.parametrize("moment", moments(TRY, 7))
def test_killed_in_a_bad_trial_nothing_changes(plane: Plane, moment: str) -> None:
    plane.lanes.differing = [7]
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.upgrade(wish=TRY)
    with pytest.raises(TakenBackError, match="untouched"):
        plane.resume()
    assert plane.live_version() == "1"
    assert cleared(plane)


@pytest.mark.parametrize("moment", ["copy-intended", "copy-done", "trial-intended",
                                    "trial-acted", "clear-intended"])
def test_a_trial_can_be_undone(plane: Plane, moment: str) -> None:
    old = plane.flink.live("counting")[0]
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.upgrade(wish=TRY)
    assert "Undone" in plane.resume(undo=True)
    assert plane.flink.live("counting") == [old]
    assert cleared(plane)
