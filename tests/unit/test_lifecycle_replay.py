"""A replay against the fake Flink: carried out, killed, failed, cancelled; the live job runs on."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from control.errors import RefusedError, SluiceError
from control.lanes.history import Stretch
from control.lifecycle.graph import Graph
from control.lifecycle.preflight import Verdict
from control.lifecycle.replay import Closing
from control.lifecycle.replay_plan import (
    ReplayWish,
    check_history,
    find_release,
    replay_job,
    replay_plan_from_json,
)
from control.lifecycle.run import NotOverError, StepFailedError
from control.lifecycle.words import Event
from jobs.catalogue import JOBS
from jobs.lane import Into
from tests.unit.lifecycle_kit import SPEC, FakePrepared, KilledError, Plane
from tests.unit.replay_kit import MESSAGES, ReplayPlane

MOMENTS = [f"{step}-{when}" for step in ("start", "run", "reconcile")
           for when in ("intended", "acted", "done")]


@pytest.fixture
def plane() -> ReplayPlane:
    return ReplayPlane()


@pytest.fixture(autouse=True)
def _the_live_job_runs_on(plane: ReplayPlane) -> Iterator[None]:
    [live] = plane.flink.live("counting")
    yield
    assert plane.flink.live("counting") == [live]
    assert live.restarts == 0
    assert plane.place.deployments.live("counting") is not None


def ready_to_fail(plane: ReplayPlane, after: float = 6.0) -> None:
    """Let the replay's first job fail for good."""
    plane.endless = True
    plane.clock.later(after, lambda: plane.flink.fail(plane.plan.flink_job, restarts=False))


def failed(plane: ReplayPlane) -> None:
    ready_to_fail(plane)
    with pytest.raises(NotOverError, match="it broke"):
        plane.replay()
    plane.endless = False


def test_it_is_carried_out(plane: ReplayPlane) -> None:
    outcome = plane.replay()
    assert plane.reached == MOMENTS
    assert "into shadow is over: about 1,000 messages" in outcome
    assert "Proven: all." in outcome
    assert plane.flink.jobs[plane.plan.flink_job].name == "counting-replay-2"
    assert plane.flink.jobs[plane.plan.flink_job].state == "FINISHED"
    assert plane.outlets.there
    assert plane.state == "done"
    assert [event.event for event in plane.ledger.events(replay_job("counting"))] == [
        Event.STARTED, Event.FINISHED, Event.COMPARED]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_it_is_resumed(plane: ReplayPlane, moment: str) -> None:
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.replay()
    plane.wait(3)
    plane.go_on()
    assert plane.state == "done"
    started = [one for one in plane.flink.started if "replay" in one.name]
    assert [one.id for one in started] == [plane.plan.flink_job]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_it_is_cancelled(plane: ReplayPlane, moment: str) -> None:
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.replay()
    plane.cancel()
    assert plane.lane_jobs == []
    assert not plane.outlets.there
    assert plane.state == "undone"


def test_it_finishes_while_nobody_watches(plane: ReplayPlane) -> None:
    plane.kill_at = "start-done"
    with pytest.raises(KilledError):
        plane.replay()
    plane.wait(60)
    assert "is over" in plane.go_on()
    assert len([one for one in plane.flink.started if "replay" in one.name]) == 1


def test_of_one_that_failed_the_next_goes_on_from_its_last_checkpoint(plane: ReplayPlane) -> None:
    failed(plane)
    assert plane.state == "running"
    newest = plane.flink.newest_state(plane.plan.flink_job)
    assert newest is not None
    plane.go_on()
    first, second = (one for one in plane.flink.started if "replay" in one.name)
    assert (first.savepoint, second.savepoint) == (None, newest.path)
    assert second.id != first.id
    assert plane.state == "done"


def drains(plane: ReplayPlane) -> list[bool]:
    return [one.body["drain"] for one in plane.flink.changes if one.path.endswith("/stop")]


def restored_for_ever(plane: ReplayPlane) -> None:
    """Fail a replay; the job that goes on from its checkpoint does not end by itself."""
    failed(plane)
    plane.endless = True


def test_one_that_was_restored_and_has_read_all_is_ended(plane: ReplayPlane) -> None:
    restored_for_ever(plane)
    plane.outlets.all_read = True
    assert "is over" in plane.go_on()
    assert drains(plane) == [True]
    assert plane.state == "done"


def test_one_that_was_restored_and_has_something_to_read_is_left_alone(plane: ReplayPlane) -> None:
    restored_for_ever(plane)
    plane.clock.later(60, lambda: plane.flink.finish(plane.lane_jobs[0].id))
    plane.go_on()
    assert plane.outlets.asked > 2
    assert drains(plane) == []


def test_one_that_began_at_the_beginning_ends_by_itself(plane: ReplayPlane) -> None:
    plane.endless, plane.outlets.all_read = True, True
    plane.clock.later(60, lambda: plane.flink.finish(plane.lane_jobs[0].id))
    plane.replay()
    assert plane.outlets.asked == 0
    assert drains(plane) == []


def test_one_that_failed_before_a_checkpoint_begins_again(plane: ReplayPlane) -> None:
    ready_to_fail(plane, after=2.5)
    with pytest.raises(NotOverError):
        plane.replay()
    plane.endless = False
    plane.go_on()
    assert [one.savepoint for one in plane.flink.started if "replay" in one.name] == [None, None]


def test_it_fails_again_and_again(plane: ReplayPlane) -> None:
    failed(plane)
    plane.endless = True
    plane.clock.later(12, lambda: plane.flink.fail(plane.lane_jobs[0].id, restarts=False))
    with pytest.raises(NotOverError):
        plane.go_on()
    plane.endless = False
    plane.go_on()
    started = [one for one in plane.flink.started if "replay" in one.name]
    assert len({one.id for one in started}) == 3
    assert started[2].savepoint is not None
    assert started[1].id in started[2].savepoint


def test_killed_before_the_next_job_is_submitted(plane: ReplayPlane) -> None:
    failed(plane)
    plane.clients.refusals["1"] = SluiceError("no client starts here")
    with pytest.raises(NotOverError, match="no client"):
        plane.go_on()
    plane.clients.refusals.clear()
    plane.go_on()
    started = [one for one in plane.flink.started if "replay" in one.name]
    assert len(started) == 2
    assert started[1].savepoint is not None


def test_cancelled_by_somebody_in_flink_it_is_not_over(plane: ReplayPlane) -> None:
    plane.endless = True
    plane.clock.later(6, lambda: plane.flink.cancel(plane.lane_jobs[0]))
    with pytest.raises(NotOverError, match="canceled") as caught:
        plane.replay()
    assert "sluice replay resume 2" in caught.value.hint
    plane.endless = False
    plane.go_on()
    assert plane.state == "done"


@pytest.mark.parametrize("moment", ["start-acted", "start-done"])
def test_one_that_flink_has_forgotten_is_not_read_again_unasked(
    plane: ReplayPlane, moment: str
) -> None:
    plane.kill_at = moment
    with pytest.raises(KilledError):
        plane.replay()
    plane.wait(60)
    plane.flink.forget(plane.plan.flink_job)
    with pytest.raises(NotOverError, match="probably finished"):
        plane.go_on()
    assert plane.lane_jobs == []
    plane.go_on(restart=True)
    assert plane.state == "done"


@pytest.mark.parametrize("first_failed", [False, True])
def test_killed_while_it_is_submitted_it_is_not_read_again_unasked(
    plane: ReplayPlane, monkeypatch: pytest.MonkeyPatch, *, first_failed: bool
) -> None:
    if first_failed:
        failed(plane)
    submit = FakePrepared.start

    def killed_then(one: FakePrepared, savepoint: str | None, *, allow_dropped: bool) -> None:
        submit(one, savepoint, allow_dropped=allow_dropped)
        raise KilledError

    # Flink has the job, and nobody could write that down.
    monkeypatch.setattr(FakePrepared, "start", killed_then)
    with pytest.raises(KilledError):
        plane.go_on() if first_failed else plane.replay()
    monkeypatch.setattr(FakePrepared, "start", submit)
    begun = [one for one in plane.flink.started if "replay" in one.name]
    plane.wait(60)
    plane.flink.forget(begun[-1].id)
    with pytest.raises(NotOverError, match="probably finished"):
        plane.go_on()
    assert [one for one in plane.flink.started if "replay" in one.name] == begun
    plane.go_on(restart=True)
    assert plane.state == "done"


def test_killed_before_it_is_submitted_it_is_read_without_being_asked(
    plane: ReplayPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = FakePrepared.graph

    def killed(_: FakePrepared) -> Graph:
        raise KilledError

    monkeypatch.setattr(FakePrepared, "graph", killed)
    with pytest.raises(KilledError):
        plane.replay()
    monkeypatch.setattr(FakePrepared, "graph", build)
    plane.go_on()
    assert plane.state == "done"


def test_the_jobmanager_dies_meanwhile(plane: ReplayPlane) -> None:
    plane.clock.later(6, plane.flink.restart_jobmanager)
    plane.replay()
    assert plane.state == "done"


def test_one_that_does_not_start_leaves_nothing(plane: ReplayPlane) -> None:
    plane.clients.refusals["1"] = RefusedError("The database has no table events.", "Migrate.")
    with pytest.raises(StepFailedError, match="no table events"):
        plane.replay()
    assert plane.state == "failed"
    assert not plane.outlets.there


def test_what_differs_at_the_end_is_a_failure(plane: ReplayPlane) -> None:
    plane.outlets.closing = Closing(False, "The shadow is not whole: 3 missing.")
    with pytest.raises(SluiceError, match="3 missing"):
        plane.replay()
    assert plane.state == "failed"


def test_a_comparison_that_cannot_be_made_is_made_later(plane: ReplayPlane) -> None:
    plane.outlets.error = SluiceError("The registry is away.", "Is it up?")
    with pytest.raises(NotOverError, match="registry is away"):
        plane.replay()
    assert plane.state == "running"
    plane.outlets.error = None
    plane.go_on()
    assert plane.state == "done"


def test_one_replay_at_a_time_beside_any_upgrade(plane: ReplayPlane) -> None:
    plane.kill_at = "start-done"
    with pytest.raises(KilledError):
        plane.replay()
    with pytest.raises(RefusedError, match="is not over"):
        plane.replay()
    assert plane.ledger.unfinished("counting") is None


def test_the_progress_is_said(plane: ReplayPlane) -> None:
    def read(_job: object) -> int:
        return min(MESSAGES, int(plane.clock.now() * 50) % MESSAGES)

    taken = plane.flink.when_submitted
    assert taken is not None

    def give(job: object) -> None:
        taken(job)  # type: ignore[arg-type]
        vertex = job.vertices[0].name  # type: ignore[attr-defined]
        job.vertex_metrics[vertex] = {  # type: ignore[attr-defined]
            "Source__numbers.KafkaSourceReader.topic.numbers.partition.0.currentOffset": read,
        }

    plane.flink.when_submitted = give
    plane.replay()
    assert any("of about 1,000 messages, 5" in line for line in plane.said)


def test_a_plan_is_kept_as_json(plane: ReplayPlane) -> None:
    kept = json.loads(json.dumps(plane.plan.as_json()))
    read = replay_plan_from_json(kept)
    assert json.loads(json.dumps(read.as_json())) == kept
    assert (read.spans, read.into, read.messages) == (plane.plan.spans, Into.SHADOW, MESSAGES)
    assert read.release.spec == kept["release"]["spec"]
    assert plane.plan.is_harmless
    assert not ReplayPlane(Into.LIVE).plan.is_harmless


def test_what_may_not_have_been_read_is_not_compared(plane: ReplayPlane) -> None:
    # A topic's records tell when Kafka took what they were made from.
    assert plane.plan.certain(130) == (1_000_000, 2_000_000)
    timescale = next(job for job in JOBS if job.name == "timescale")
    release = replace(plane.plan.release, spec=timescale.as_json())
    short = replace(plane.plan, release=release)
    assert replace(short, end=60_000).certain(10) == (11_000_000, 50_000_000)
    with pytest.raises(RefusedError, match="too short"):
        short.certain(10)


def test_code_that_knows_no_lanes_is_refused(plane: ReplayPlane) -> None:
    assert find_release(plane.place, "counting", 3).parallelism == 3
    old = Plane()
    old.deploy(old.release("1", replace(SPEC, lanes=False)))
    with pytest.raises(RefusedError, match="knows no replays") as caught:
        find_release(old.place, "counting", None)
    assert "sluice upgrade counting" in caught.value.hint


def test_what_was_never_deployed_is_refused(plane: ReplayPlane) -> None:
    with pytest.raises(RefusedError, match="never deployed"):
        find_release(Plane().place, "counting", None)


def test_what_kafka_has_forgotten_is_refused_unless_allowed() -> None:
    at = datetime(2026, 11, 22, 9, tzinfo=UTC)
    cut = Stretch({"numbers": {0: (5, 9)}}, round(at.timestamp() * 1000))
    wish = ReplayWish(Into.SHADOW, at, at)
    verdicts = {check.name: check for check in check_history(wish, cut)}
    assert verdicts["history"].verdict is Verdict.BAD
    assert "2026-11-22T09:00:01" in verdicts["history"].way_out
    allowed = ReplayWish(Into.SHADOW, at, at, allow_cut=True)
    assert {check.verdict for check in check_history(allowed, cut)} == {
        Verdict.GOOD, Verdict.WARNING}
    assert check_history(wish, Stretch({"numbers": {0: (5, 5)}}))[0].verdict is Verdict.BAD
