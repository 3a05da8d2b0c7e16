"""A savepoint is proven by starting its job from it, in a lane that writes nothing."""

from dataclasses import replace

import pytest

from control.errors import RefusedError, SluiceError
from control.lifecycle.proof import prove_restore
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.snapshots import take_savepoint
from control.lifecycle.watch import UnhealthyError
from control.lifecycle.words import Origin
from control.savepoint_metadata import OperatorState, SavepointMetadata, operator_id
from jobs.lane import Into
from tests.kit.fake_flink_job import FakeJob
from tests.unit.lifecycle_kit import SPEC, UIDS, Plane, running_plane

LANE = "counting-verify-1"


@pytest.fixture
def plane() -> Plane:
    return running_plane()


@pytest.fixture
def taken(plane: Plane) -> Savepoint:
    live = plane.flink.live("counting")[0]
    return take_savepoint(plane.place, "counting", live.id, Origin.MANUAL)


def held(*uids: str) -> SavepointMetadata:
    operators = tuple(OperatorState(operator_id(uid), uid, uid, 1, 720, 1, 10) for uid in uids)
    return SavepointMetadata(1, operators, (), 10, "file:/s", 4, "savepoint", "canonical")


def prove(plane: Plane, taken: Savepoint, *uids: str) -> None:
    prove_restore(plane.place, taken, held(*(uids or UIDS)), plane.said.append)


def test_it_is_started_from_the_savepoint_and_ended(plane: Plane, taken: Savepoint) -> None:
    live = plane.flink.live("counting")[0]
    seen: list[FakeJob] = []
    plane.flink.when_submitted = seen.append
    prove(plane, taken)
    [proof] = seen
    assert (proof.name, proof.savepoint, proof.state) == (LANE, taken.path, "CANCELED")
    assert plane.clients.lanes[proof.id].into is Into.NOTHING
    assert plane.flink.live("counting") == [live]
    found = plane.savepoints.get(taken.number)
    assert found is not None
    assert found.verified == "restored"


def test_what_does_not_come_up_is_no_proof(plane: Plane, taken: Savepoint) -> None:
    plane.flink.when_submitted = lambda job: plane.flink.crash(
        job.id, "java.lang.ClassCastException: no", after=0.1, restarts=0
    )
    with pytest.raises(UnhealthyError):
        prove(plane, taken)
    assert not plane.flink.live(LANE)
    found = plane.savepoints.get(taken.number)
    assert found is not None
    assert found.verified == ""


def test_state_without_a_place_is_no_proof(plane: Plane, taken: Savepoint) -> None:
    with pytest.raises(SluiceError, match="no place for other"):
        prove(plane, taken, *UIDS, "other")
    assert not plane.flink.live(LANE)


def test_open_transactions_are_left_to_the_live_job(plane: Plane, taken: Savepoint) -> None:
    # The lane's sink has another uid: the live one's has no place in it.
    prove(plane, taken, "numbers", "count", "letters")


def test_what_a_killed_command_left_is_ended_first(plane: Plane, taken: Savepoint) -> None:
    plane.flink.submit("e" * 32, LANE, uids=UIDS)
    prove(plane, taken)
    assert not plane.flink.live(LANE)


def test_code_that_knows_no_lanes_is_not_started(plane: Plane) -> None:
    old = Plane()
    old.deploy(old.release("1", replace(SPEC, lanes=False)))
    old.wait(20)
    live = old.flink.live("counting")[0]
    taken = take_savepoint(old.place, "counting", live.id, Origin.MANUAL)
    with pytest.raises(RefusedError, match="beside the live job"):
        prove(old, taken)
    assert len(old.clients.prepared) == 1
