"""The way back at its worst: killed twice, forgotten by Flink, taken over by somebody else."""

from dataclasses import replace
from typing import Any

import pytest

from control.errors import RefusedError
from control.lifecycle.back import TakenBackError
from control.lifecycle.book import BookAwayError
from control.lifecycle.decide import Wish, decide_deploy
from control.lifecycle.perform import there
from control.lifecycle.plan import How, plan_from_json
from control.lifecycle.run import NotHeldError, NotOverError
from control.lifecycle.suspend import suspend
from control.lifecycle.words import Desired, Kind, OperationState, Origin, SavepointState
from tests.kit.fake_flink_job import FakeJob
from tests.unit.lifecycle_kit import SPEC, KilledError, Plane, last_operation, running_plane

_BACK = [f"{step}-{when}" for step in ("halt", "return", "settle")
         for when in ("intended", "acted", "done")]


@pytest.fixture
def plane() -> Plane:
    return running_plane()


def kill(plane: Plane, moment: str, **how: Any) -> None:
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.upgrade(**how)


def state(plane: Plane) -> OperationState:
    return last_operation(plane).state


def crash(plane: Plane, version: str, after: float, restarts: int = 1) -> None:
    def give(job: FakeJob) -> None:
        if job.user_config["version"] == version:
            plane.flink.crash(job.id, "java.lang.RuntimeException: it broke", after=after,
                              restarts=restarts)

    plane.flink.when_submitted = give


@pytest.mark.parametrize("second", _BACK)
@pytest.mark.parametrize("first", ["start-intended", "start-acted", "start-done", "watch-intended",
                                   "watch-done"])
def test_an_undoing_that_is_killed_is_gone_on_with(plane: Plane, first: str, second: str) -> None:
    kill(plane, first)
    plane.kill_at = second
    with pytest.raises(KilledError):
        plane.resume(undo=True)
    plane.wait(5)
    with pytest.raises(TakenBackError):
        plane.resume()
    assert plane.live_version() == "1"
    assert len(plane.flink.live("counting")) == 1
    assert state(plane) is not OperationState.RUNNING


class LostAfter:
    """A guard that finds, from some question on, that somebody else operates the job."""

    def __init__(self, questions: int) -> None:
        self._left = questions

    def check(self) -> None:
        self._left -= 1
        if self._left < 0:
            message = "This command no longer holds the job."
            raise NotHeldError(message)


@pytest.mark.parametrize(("questions", "live"), [(0, 1), (1, 1), (2, 0), (3, 0), (4, 0)])
def test_who_lost_the_job_does_nothing_more(plane: Plane, questions: int, live: int) -> None:
    plane.place.guard = LostAfter(questions)
    with pytest.raises(NotHeldError):
        plane.upgrade()
    plane.wait(10)
    jobs = plane.flink.live("counting")
    assert [job.user_config["version"] for job in jobs] == ["1"] * live
    assert state(plane) is OperationState.RUNNING
    plane.resume()
    assert plane.live_version() == "2"
    assert len(plane.flink.live("counting")) == 1


@pytest.mark.parametrize("recovers", [0.0, 30.0])
def test_checkpoints_before_a_new_jobmanager_count(plane: Plane, recovers: float) -> None:
    kill(plane, "watch-intended")
    plane.wait(20)
    new = plane.flink.live("counting")[0]
    newest = plane.flink.newest_state(new.id)
    assert newest is not None
    new.completes_checkpoints = False
    plane.flink.restart_jobmanager()
    plane.wait(recovers)
    plane.resume(undo=True)
    assert plane.live_version() == "1"
    assert plane.flink.live("counting")[0].savepoint == newest.path


def test_a_version_that_flink_has_forgotten_is_not_guessed_about(plane: Plane) -> None:
    plane.flink.highly_available = False
    kill(plane, "watch-intended")
    plane.wait(20)
    plane.flink.restart_jobmanager()
    plane.wait(30)
    with pytest.raises(TakenBackError, match="has forgotten job") as refused:
        plane.resume()
    assert "--from PATH" in refused.value.hint
    assert plane.flink.live("counting") == []
    assert state(plane) is OperationState.FAILED


def test_a_version_that_flink_forgets_meanwhile_was_seen_before(plane: Plane) -> None:
    plane.flink.highly_available = False
    kill(plane, "watch-intended")
    plane.wait(20)
    newest = plane.flink.newest_state(plane.flink.live("counting")[0].id)
    assert newest is not None
    plane.kill_at = "halt-intended"
    with pytest.raises(KilledError):
        plane.resume(undo=True)
    plane.flink.restart_jobmanager()
    plane.wait(30)
    with pytest.raises(TakenBackError):
        plane.resume()
    assert plane.live_version() == "1"
    assert plane.flink.live("counting")[0].savepoint == newest.path


def test_what_somebody_submitted_too_late_is_ended(plane: Plane) -> None:
    kill(plane, "start-intended")
    plane.flink.forbid_two = False
    reach = plane.reach

    def submit_late(moment: str) -> None:
        reach(moment)
        if moment == "settle-intended":
            late = plan_from_json(last_operation(plane).plan)
            plane.clients.prepare(late.release, late.flink_job).start(None, allow_dropped=False)

    plane.reach = submit_late  # type: ignore[method-assign]
    plane.resume(undo=True)
    plane.wait(5)
    assert [job.user_config["version"] for job in plane.flink.live("counting")] == ["1"]


def test_what_a_first_deploy_did_before_it_failed_stands() -> None:
    plane = Plane()
    crash(plane, "1", after=8)
    with pytest.raises(TakenBackError) as taken_back:
        plane.deploy(wish=Wish(watch_seconds=30))
    newest = plane.flink.newest_state(plane.deployments.all("counting")[0].flink_job)
    assert newest is not None
    assert newest.path in taken_back.value.hint
    assert plane.savepoints.at(newest.path) is not None


def test_a_return_that_is_restarted_on_its_way_stands(plane: Plane) -> None:
    def give(job: FakeJob) -> None:
        if job.user_config["version"] == "2":
            plane.flink.crash(job.id, after=0.1)
        else:
            plane.flink.crash(job.id, "java.net.ConnectException: the broker starts", after=0.1)
            plane.clock.later(4, lambda: setattr(job, "crash", None))

    plane.flink.when_submitted = give
    with pytest.raises(TakenBackError, match="runs again as deployment"):
        plane.upgrade()
    assert plane.live_version() == "1"
    live = plane.deployments.live("counting")
    assert live is not None
    assert live.release.version == "1"


def test_a_failed_restart_of_the_control_loop_does_not_stop_it_wanting(plane: Plane) -> None:
    before = plane.flink.live("counting")[0]
    plane.stop()
    plane.deployments.want("counting", Desired.RUNNING)
    crash(plane, "1", after=0.1, restarts=0)
    last = plane.deployments.of_flink_job(before.id)
    assert last is not None
    plan = replace(decide_deploy(plane.place, last.release, None, Wish()), kind=Kind.RESTART)
    with pytest.raises(TakenBackError):
        plane.change(plan)
    assert plane.deployments.desired["counting"].desired is Desired.RUNNING


def test_state_that_the_new_version_dropped_comes_back(plane: Plane) -> None:
    crash(plane, "2", after=8)
    smaller = replace(SPEC, state=(SPEC.state[0], SPEC.state[2]))
    with pytest.raises(TakenBackError):
        plane.upgrade(plane.release("2", smaller), Wish(allow_dropped=True, watch_seconds=30))
    taken = next(one for one in plane.savepoints.all("counting") if one.trigger)
    assert plane.flink.live("counting")[0].savepoint == taken.path


def test_a_trial_that_cannot_be_cleared_is_cleared_later(plane: Plane) -> None:
    plane.lanes.away = 2
    with pytest.raises(NotOverError, match="could not be deleted yet"):
        plane.upgrade(wish=Wish(trial_seconds=5))
    with pytest.raises(NotOverError):
        plane.resume()
    plane.resume()
    assert plane.lanes.there == set()
    assert plane.live_version() == "2"


def test_a_stop_that_takes_long_is_waited_for_again(plane: Plane) -> None:
    plane.flink.timing.savepoint = 700
    with pytest.raises(NotOverError, match="not complete after 600 s"):
        plane.upgrade()
    assert state(plane) is OperationState.RUNNING
    plane.resume()
    taken = next(one for one in plane.savepoints.all("counting") if one.trigger)
    assert taken.state is SavepointState.THERE
    assert plane.flink.live("counting")[0].savepoint == taken.path
    assert len(plane.flink.live("counting")) == 1


def test_an_attempt_that_was_given_up_is_not_gone_on_from(plane: Plane) -> None:
    # The savepoint is written, and its JobManager dies before it tells; the job runs on.
    plane.clock.later(1.2, plane.flink.restart_jobmanager)
    kill(plane, "suspend-acted")
    rows = [one for one in plane.savepoints.all("counting") if one.trigger]
    assert [one.state for one in rows] == [SavepointState.THERE, SavepointState.FAILED]
    # Killed before even the second one was written down.
    second = rows[0]
    plane.savepoints.rows[second.number] = replace(second, state=SavepointState.PENDING, path=None)
    plane.resume()
    assert plane.flink.live("counting")[0].savepoint == second.path
    assert plane.savepoints.rows[second.number].state is SavepointState.THERE


def test_what_a_version_refused_is_known_after_its_end(plane: Plane) -> None:
    def give(job: FakeJob) -> None:
        if job.user_config["version"] == "2":
            job.vertex_metrics[job.vertices[0].name] = {
                "0.sluice.events_in": 100, "0.sluice.events_refused": 100,
            }

    plane.flink.when_submitted = give
    # Well until it has completed checkpoints: what it refused must be judged again all the same.
    kill(plane, "halt-acted", wish=Wish(watch_seconds=20))
    for job in plane.flink.jobs.values():
        job.vertex_metrics.clear()
    with pytest.raises(TakenBackError):
        plane.resume()
    taken = next(one for one in plane.savepoints.all("counting") if one.trigger)
    assert plane.flink.live("counting")[0].savepoint == taken.path


def test_a_cancelled_job_that_flink_forgets_goes_on_from_what_was_seen(plane: Plane) -> None:
    plane.flink.live("counting")[0].completes_checkpoints = False
    newest = plane.flink.newest_state(plane.flink.live("counting")[0].id)
    assert newest is not None
    kill(plane, "suspend-acted", wish=Wish(how=How.LAST_CHECKPOINT))
    plane.flink.restart_jobmanager()
    plane.wait(20)
    plane.resume()
    assert plane.live_version() == "2"
    assert plane.flink.live("counting")[0].savepoint == newest.path


def test_a_periodic_savepoint_can_be_what_a_job_ended_with(plane: Plane) -> None:
    job = plane.flink.live("counting")[0]
    number = plane.savepoints.adopt("counting", job.id, "file:/savepoints/by-hand",
                                    Origin.PERIODIC, 1, None, 10)
    plane.place.find_kept = lambda _folder: "file:/savepoints/by-hand"
    plane.flink.files["file:/savepoints/by-hand"] = next(iter(plane.flink.files.values()))
    plane.flink.crash(job.id, restarts=0)
    plane.wait(5)
    trigger = "0123456789abcdef0123456789abcdef"
    found = suspend(plane.place, {
        "how": "savepoint", "flink_job": job.id, "job": "counting", "trigger": trigger,
        "origin": "upgrade",
    })
    assert found["path"] == "file:/savepoints/by-hand"
    row = next(one for one in plane.savepoints.rows.values() if one.trigger == trigger)
    assert row.state is SavepointState.FAILED
    assert f"savepoint {number}" in row.note


def test_a_database_that_stays_away_leaves_the_operation_open(plane: Plane) -> None:
    complete = plane.savepoints.complete

    def away(_trigger: str, _path: str, _size: int | None) -> None:
        plane.savepoints.complete = complete  # type: ignore[method-assign]
        message = "The control plane's database is away."
        raise BookAwayError(message)

    plane.savepoints.complete = away  # type: ignore[assignment, method-assign]
    with pytest.raises(BookAwayError):
        plane.upgrade()
    assert state(plane) is OperationState.RUNNING
    plane.resume()
    assert plane.live_version() == "2"


def test_a_job_that_flinks_list_leaves_out_is_there(plane: Plane) -> None:
    for _ in range(2):
        plane.flink.answer_with(200, '{"jobs": []}', path="/jobs/overview")
    found = there(plane.place, "counting")
    assert found is not None
    assert found.id == plane.flink.live("counting")[0].id
    with pytest.raises(RefusedError, match="is there already"):
        plane.deploy()
