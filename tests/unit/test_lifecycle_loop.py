"""What the control loop decides: restarts up to a limit, savepoints in time, what is kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from control.lifecycle.deployments import Deployment, Wanted
from control.lifecycle.ledger import EventRow
from control.lifecycle.loop import Look, Need, decide, to_prune
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.words import DeploymentState, Desired, Event, Origin, SavepointState
from tests.unit.lifecycle_kit import Plane

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WANTED = Wanted("counting", Desired.RUNNING, timedelta(minutes=10), 3, timedelta(days=2))


def savepoint(number: int, *, minutes: float = 0, origin: Origin = Origin.PERIODIC,
              flink_job: str = "a", verified: str = "") -> Savepoint:
    at = NOW - timedelta(minutes=minutes)
    return Savepoint(number, "counting", None, None, flink_job, str(number), f"file:/{number}",
                     origin, SavepointState.THERE, 1, at, at, verified, None, "")


def event(kind: Event, minutes: float) -> EventRow:
    return EventRow(NOW - timedelta(minutes=minutes), "counting", None, kind, "")


def look(**more: object) -> Look:
    base = Look(WANTED, "RUNNING", False, [], [savepoint(1, minutes=1)], NOW)
    return replace(base, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seen", "need"), [
    (look(), Need.NOTHING),
    (look(savepoints=[]), Need.SAVEPOINT),
    (look(savepoints=[savepoint(1, minutes=10)]), Need.SAVEPOINT),
    (look(savepoints=[savepoint(1, minutes=10)], state="RESTARTING"), Need.NOTHING),
    (look(savepoints=[], wanted=replace(WANTED, savepoint_every=None)), Need.NOTHING),
    (look(state=None, has_failed=True), Need.RESTART),
    (look(state=None, has_failed=True, wanted=replace(WANTED, desired=Desired.STOPPED)),
     Need.NOTHING),
    (look(state=None, has_failed=True, events=[event(Event.RESTARTED, 5)] * 2), Need.RESTART),
    (look(state=None, has_failed=True, events=[event(Event.RESTARTED, 5)] * 3), Need.GIVE_UP),
    (look(state=None, has_failed=True, events=[event(Event.RESTARTED, 90)] * 3), Need.RESTART),
    (look(state=None, has_failed=True,
          events=[*[event(Event.RESTARTED, 5)] * 3, event(Event.GIVEN_UP, 1)]), Need.NOTHING),
])
def test_what_a_job_needs(seen: Look, need: Need) -> None:
    assert decide(seen) is need


def test_the_newest_are_kept() -> None:
    there = [savepoint(number, minutes=10 - number) for number in range(1, 7)]
    assert [one.number for one in to_prune(WANTED, there, [], NOW)] == [3, 2, 1]


def test_the_last_good_one_is_kept_however_old() -> None:
    assert to_prune(WANTED, [savepoint(1, minutes=60 * 24 * 30)], [], NOW) == []


def test_old_ones_go_although_they_are_few() -> None:
    there = [savepoint(1, minutes=60 * 24 * 3), savepoint(2)]
    assert [one.number for one in to_prune(WANTED, there, [], NOW)] == [1]


def test_the_last_verified_one_is_kept() -> None:
    there = [savepoint(1, minutes=60 * 24 * 3, verified="read"), savepoint(2)]
    assert to_prune(WANTED, there, [], NOW) == []


@pytest.mark.parametrize("origin", [Origin.MANUAL, Origin.CHECKPOINT])
def test_what_is_somebody_elses_is_kept(origin: Origin) -> None:
    there = [savepoint(1, minutes=60 * 24 * 3, origin=origin), savepoint(2)]
    assert to_prune(WANTED, there, [], NOW) == []


def test_what_a_deployment_needs_is_kept() -> None:
    release = Plane().release()
    deployments = [
        Deployment(2, release, 1, None, "b", "file:/1", DeploymentState.LIVE, NOW, None),
        Deployment(1, release, 1, None, "a", None, DeploymentState.ENDED, NOW, None),
    ]
    old = 60 * 24 * 3
    there = [savepoint(1, minutes=old), savepoint(2, minutes=old),
             savepoint(3, minutes=old, flink_job="b"), savepoint(4, flink_job="b")]
    # 1: the live one began with it; 2: the newest that the one before left.
    assert [one.number for one in to_prune(WANTED, there, deployments, NOW)] == [3]
