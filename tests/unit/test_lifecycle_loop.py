"""What the control loop decides and does: restarts up to a limit, savepoints in time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from control.errors import SluiceError
from control.lifecycle.deployments import Wanted
from control.lifecycle.ledger import Operation
from control.lifecycle.loop import Look, Need, decide
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.words import (
    Desired,
    Event,
    Kind,
    OperationState,
    Origin,
    SavepointState,
)
from tests.kit.fake_flink_job import FakeJob
from tests.unit.lifecycle_kit import KilledError, last_operation
from tests.unit.loop_kit import LoopPlane

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WANTED = Wanted("counting", Desired.RUNNING, timedelta(minutes=10), 3, timedelta(days=2))


def savepoint(number: int, *, minutes: float = 0,
              state: SavepointState = SavepointState.THERE) -> Savepoint:
    at = NOW - timedelta(minutes=minutes)
    done = at if state is SavepointState.THERE else None
    return Savepoint(number, "counting", None, None, "a", str(number), f"file:/{number}",
                     Origin.PERIODIC, state, 1, at, done, "", None, "")


def failures(*minutes: float) -> list[Savepoint]:
    return [savepoint(10 + place, minutes=one, state=SavepointState.FAILED)
            for place, one in enumerate(minutes)]


def operation(minutes: float, kind: Kind = Kind.RESTART,
              state: OperationState = OperationState.DONE) -> Operation:
    return Operation(1, "counting", kind, state, {}, "ada", "desk", "", "",
                     NOW - timedelta(minutes=minutes), None)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def look(**more: object) -> Look:
    base = Look(WANTED, "RUNNING", False, None, [], None, [savepoint(1, minutes=1)], [], NOW)
    return replace(base, **more)  # type: ignore[arg-type]


def failed(**more: object) -> Look:
    return look(state=None, has_failed=True, **more)


@pytest.mark.parametrize(("seen", "need"), [
    (look(), Need.NOTHING),
    (look(savepoints=[]), Need.SAVEPOINT),
    (look(savepoints=[savepoint(1, minutes=10)]), Need.SAVEPOINT),
    (look(savepoints=[savepoint(1, minutes=10)], state="RESTARTING"), Need.NOTHING),
    (look(savepoints=[], wanted=replace(WANTED, savepoint_every=None)), Need.NOTHING),
    (failed(), Need.RESTART),
    (failed(wanted=replace(WANTED, desired=Desired.STOPPED)), Need.NOTHING),
    (failed(restarts=[operation(5)] * 2), Need.RESTART),
    (failed(restarts=[operation(5, state=OperationState.FAILED)] * 3), Need.GIVE_UP),
    (failed(restarts=[operation(5)] * 3), Need.GIVE_UP),
    (failed(restarts=[operation(90)] * 3), Need.RESTART),
    (failed(restarts=[operation(5)] * 3, given_up_at=ago(1)), Need.NOTHING),
    (failed(restarts=[operation(5)] * 3, given_up_at=ago(70)), Need.GIVE_UP),
    (failed(unfinished=operation(5, state=OperationState.RUNNING)), Need.FINISH),
    (look(unfinished=operation(5, state=OperationState.RUNNING)), Need.FINISH),
    (failed(unfinished=operation(5, Kind.UPGRADE, OperationState.RUNNING)), Need.RESTART),
])
def test_what_a_job_needs(seen: Look, need: Need) -> None:
    assert decide(seen) is need


@pytest.mark.parametrize(("failed_ago", "need"), [
    ([0.2], Need.NOTHING),
    ([0.6], Need.SAVEPOINT),
    ([1.2, 0.6], Need.NOTHING),
    ([2.2, 1.2], Need.SAVEPOINT),
    ([10, 9, 8, 7, 3], Need.NOTHING),
    # Never longer than the pause of the schedule.
    ([90, 80, 70, 60, 50, 40, 30, 20, 10], Need.SAVEPOINT),
    ([*range(1000, 10, -10), 9.9], Need.NOTHING),
])
def test_a_savepoint_that_fails_is_tried_again_later_and_later(
    failed_ago: list[float], need: Need
) -> None:
    for there in ([], [savepoint(1, minutes=2000)]):
        assert decide(look(savepoints=there, failures=failures(*failed_ago))) is need


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> LoopPlane:
    return LoopPlane(monkeypatch)


def restarts(plane: LoopPlane) -> list[OperationState]:
    return [one.state for one in plane.ledger.history("counting", 10, Kind.RESTART)][::-1]


def test_a_failed_job_is_started_again_from_what_it_left(plane: LoopPlane) -> None:
    job = plane.job
    plane.flink.fail(job.id, restarts=False)
    newest = plane.flink.newest_state(job.id)
    assert newest is not None
    plane.look()
    assert plane.job.savepoint == newest.path
    assert restarts(plane) == [OperationState.DONE]
    assert plane.held == ["counting"]
    assert plane.look() == []


def test_two_restarts_fail_the_third_is_tried_the_fourth_is_not(plane: LoopPlane) -> None:
    plane.flink.fail(plane.job.id, restarts=False)
    plane.let_crash()
    for count in (1, 2, 3):
        plane.look()
        assert restarts(plane) == [OperationState.FAILED] * count
        assert plane.events(Event.GIVEN_UP) == []
    plane.let_run()
    said = plane.look()
    assert len(restarts(plane)) == 3
    assert plane.flink.live("counting") == []
    assert plane.events(Event.GIVEN_UP) == ["3 restarts within 1:00:00"]
    assert "sluice deploy counting" in said[0]
    plane.look(3)
    assert len(plane.events(Event.GIVEN_UP)) == 1
    # An hour later it may be another cause.
    plane.wait(3600)
    plane.look()
    assert plane.job.state == "RUNNING"


def test_the_third_restart_may_be_the_good_one(plane: LoopPlane) -> None:
    plane.flink.fail(plane.job.id, restarts=False)
    plane.let_crash()
    for _ in range(2):
        plane.look()
    plane.let_run()
    plane.look()
    assert restarts(plane)[-1] is OperationState.DONE
    assert plane.job.state == "RUNNING"


def test_a_client_that_fails_has_committed_nothing(plane: LoopPlane) -> None:
    job = plane.job
    plane.flink.fail(job.id, restarts=False)
    newest = plane.flink.newest_state(job.id)
    assert newest is not None
    plane.clients.refusals["1"] = SluiceError("no memory")
    plane.look()
    plane.clients.refusals.clear()
    plane.look()
    assert plane.job.savepoint == newest.path


def test_what_a_failed_restart_committed_is_not_done_again(plane: LoopPlane) -> None:
    first = plane.job
    plane.flink.fail(first.id, restarts=False)

    def behind(job: FakeJob) -> None:
        # It completes checkpoints, and never catches up.
        job.vertex_metrics[job.vertices[0].name] = {"0.a.pendingRecords": 1_000_000}

    plane.flink.when_submitted = behind
    plane.look()
    second = plane.flink.started[-1].id
    assert restarts(plane) == [OperationState.FAILED]
    newest = plane.flink.newest_state(second)
    assert newest is not None
    plane.let_run()
    plane.look()
    assert plane.job.savepoint == newest.path


@pytest.mark.parametrize("moment", ["start-intended", "start-acted", "watch-intended"])
def test_a_restart_that_was_cut_off_is_finished(plane: LoopPlane, moment: str) -> None:
    plane.flink.fail(plane.job.id, restarts=False)
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.look()
    assert last_operation(plane).state is OperationState.RUNNING
    plane.look()
    assert restarts(plane) == [OperationState.DONE]
    assert plane.job.state == "RUNNING"
    assert plane.look() == []


def test_what_somebody_else_left_unfinished_is_left_alone(plane: LoopPlane) -> None:
    plane.flink.fail(plane.job.id, restarts=False)
    plane.ledger.begin("counting", Kind.UPGRADE, {}, "")
    [said] = plane.look()
    assert "left alone: upgrade" in said
    assert restarts(plane) == []


def test_a_job_that_somebody_holds_is_left_alone(plane: LoopPlane) -> None:
    plane.flink.fail(plane.job.id, restarts=False)
    plane.holders["counting"] = "ada@desk, pid 7"
    [said] = plane.look()
    assert "ada@desk" in said
    assert restarts(plane) == []


def test_state_that_nobody_knows_is_not_guessed(plane: LoopPlane) -> None:
    job = plane.job
    plane.deployments.schedule("counting", timedelta(minutes=1), None, None)
    plane.look()
    assert [one.origin for one in plane.savepoints.all("counting")] == [Origin.PERIODIC]
    plane.deployments.schedule("counting", None, None, None)
    plane.flink.forget(job.id)
    said = plane.look(3)
    assert "--from PATH" in said[0]
    assert restarts(plane) == []
    [told] = plane.events(Event.GIVEN_UP)
    assert "cannot be seen from here" in told
    # Flink knows it after all.
    newest = plane.flink.newest_state(job.id)
    assert newest is not None
    plane.flink.jobs[job.id] = job
    plane.flink.fail(job.id, restarts=False)
    plane.look()
    assert plane.job.savepoint == newest.path


def test_periodic_savepoints(plane: LoopPlane) -> None:
    plane.deployments.schedule("counting", timedelta(minutes=1), None, None)
    plane.look(12)
    assert len(plane.savepoints.all("counting")) == 2


def test_a_savepoint_that_fails_is_not_tried_every_time(plane: LoopPlane) -> None:
    plane.deployments.schedule("counting", timedelta(hours=1), None, None)
    plane.flink.break_savepoints("java.io.IOException: No space left on device", times=100)
    plane.look(60)
    tried = plane.savepoints.all("counting")
    assert {one.state for one in tried} == {SavepointState.FAILED}
    # In ten minutes after 0, 30, 90, 210 and 450 seconds.
    assert len(tried) == 5
