"""Going back to an earlier deployment: from the state of now, or from its own."""

from dataclasses import replace

import pytest

from control.errors import RefusedError
from control.lifecycle.decide import Wish, decide_rollback
from control.lifecycle.plan import How, Plan
from control.lifecycle.words import Origin, SavepointState
from jobs.spec import JobSpec, StatePart
from tests.unit.lifecycle_kit import SPEC, Plane


def upgraded(spec: JobSpec = SPEC) -> Plane:
    plane = Plane()
    plane.deploy()
    plane.wait(20)
    plane.upgrade(plane.release("2", spec))
    plane.wait(10)
    return plane


def decided(plane: Plane, to: int | None = None, wish: Wish | None = None) -> Plan:
    live = plane.place.eyes.flink.live_job("counting")
    return decide_rollback(plane.place, live, "counting", to, wish or Wish())


OTHER_FORM = replace(SPEC, state=(SPEC.state[0], StatePart("count", "count/2", "", ("count/1",))))


def test_it_goes_on_from_the_state_of_now_where_it_can() -> None:
    plane = upgraded()
    plan = decided(plane)
    assert plan.restore.suspended
    assert "nothing is processed again" in plan.note
    plane.change(plan)
    newest = plane.savepoints.all("counting")[0]
    assert plane.live_version() == "1"
    assert plane.flink.live("counting")[0].savepoint == newest.path


def test_state_that_it_cannot_read_is_left_for_its_own() -> None:
    plane = upgraded(OTHER_FORM)
    first = plane.savepoints.all("counting")[0]
    plan = decided(plane)
    assert plan.restore.path == first.path
    assert not plan.restore.suspended
    assert "NOT harmless" in plan.note
    assert "counted twice" in plan.note
    plane.change(plan)
    assert plane.live_version() == "1"
    assert plane.flink.live("counting")[0].savepoint == first.path


def test_without_any_state_that_fits_it_is_refused() -> None:
    plane = upgraded(OTHER_FORM)
    for one in plane.savepoints.all("counting"):
        plane.savepoints.set_state(one.number, SavepointState.DISPOSED)
    with pytest.raises(RefusedError, match="nothing is left"):
        decided(plane)


def test_a_named_deployment() -> None:
    plane = upgraded()
    plane.upgrade(plane.release("3"))
    assert decided(plane).release.version == "2"
    assert decided(plane, to=1).release.version == "1"
    with pytest.raises(RefusedError, match="no deployment 99"):
        decided(plane, to=99)


def test_nothing_earlier() -> None:
    plane = Plane()
    plane.deploy()
    with pytest.raises(RefusedError, match="no earlier version"):
        decided(plane)


def test_the_parallelism_stays() -> None:
    plane = Plane()
    plane.deploy()
    plane.wait(10)
    plane.upgrade(plane.release("2", parallelism=2))
    assert decided(plane).release.parallelism == 2


@pytest.mark.parametrize("how", [How.SAVEPOINT, How.LAST_CHECKPOINT])
def test_a_job_that_does_not_run_is_rolled_back_as_well(how: How) -> None:
    plane = upgraded()
    if how is How.SAVEPOINT:
        plane.stop()
    else:
        job = plane.flink.live("counting")[0]
        plane.flink.crash(job.id, restarts=0, after=0.1)
        plane.wait(5)
        newest = plane.flink.newest_state(job.id)
        assert newest is not None
        plane.savepoints.adopt("counting", job.id, newest.path, Origin.CHECKPOINT, 2, None, 1)
    last = plane.savepoints.all("counting")[0]
    plane.change(decided(plane))
    assert plane.live_version() == "1"
    assert plane.flink.live("counting")[0].savepoint == last.path


def test_a_job_that_cannot_be_stopped_goes_back_from_its_last_checkpoint() -> None:
    plane = upgraded()
    plan = decided(plane, wish=Wish(how=How.LAST_CHECKPOINT))
    assert plan.suspend.how is How.LAST_CHECKPOINT
    plane.change(plan)
    assert plane.live_version() == "1"


def test_state_that_the_version_of_now_dropped_is_not_left_empty() -> None:
    smaller = replace(SPEC, state=(SPEC.state[0], SPEC.state[2]))
    plane = Plane()
    plane.deploy()
    plane.wait(20)
    plane.upgrade(plane.release("2", smaller), Wish(allow_dropped=True))
    first = plane.savepoints.all("counting")[0]
    plan = decided(plane)
    assert plan.restore.path == first.path
    assert "processed again" in plan.note


def test_a_drained_job_is_not_gone_on_from_unasked() -> None:
    plane = Plane()
    plane.deploy()
    plane.wait(20)
    plane.stop(drain=True)
    taken = plane.savepoints.all("counting")[0]
    with pytest.raises(RefusedError, match="was drained"):
        plane.deploy()
    plane.deploy(wish=Wish(start_from=str(taken.number)))
    assert plane.flink.live("counting")[0].savepoint == taken.path
