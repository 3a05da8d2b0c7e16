"""Going back to an earlier deployment: from the state of now, or from its own."""

from dataclasses import replace

import pytest

from control.errors import RefusedError
from control.lifecycle.decide import Wish, decide_rollback
from control.lifecycle.plan import Plan
from control.lifecycle.words import SavepointState
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
