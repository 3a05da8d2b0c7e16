"""Operations of every kind, killed at every moment: to resume is to finish them."""

from typing import cast

import pytest

from control.archive.store import ArchiveStore
from control.errors import RefusedError
from control.lifecycle import perform
from control.lifecycle.decide import Wish, decide_deploy, decide_rollback
from control.lifecycle.ending import EndPlan
from control.lifecycle.open import Desk
from control.lifecycle.perform import AnyPlan, Held
from control.lifecycle.plan import How
from control.lifecycle.rescale import ScalePlan
from control.lifecycle.words import Desired, Kind, OperationState
from control.settings import load_settings
from tests.unit.lifecycle_kit import KilledError, Plane, last_operation, running_plane

_WHEN = ("intended", "acted", "done")
_ENDS = [f"suspend-{when}" for when in _WHEN]
_STARTS = [f"{step}-{when}" for step in ("start", "watch") for when in _WHEN]


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Plane:
    made = running_plane()
    monkeypatch.setattr(perform, "fault", made.reach)
    return made


def held(plane: Plane) -> Held:
    return Held(Desk(load_settings(), plane.place, cast(ArchiveStore, None)), "counting")


def kill(plane: Plane, plan: AnyPlan, kind: Kind, moment: str) -> None:
    plane.kill_at = moment
    with pytest.raises(KilledError):
        held(plane).begin(plan, kind, "a test", plane.said.append)
    plane.wait(5)


def resume(plane: Plane, *, undo: bool = False) -> str:
    plane.another_process()
    operation = plane.ledger.unfinished("counting")
    assert operation is not None
    return held(plane).resume(operation, plane.said.append, undo=undo)


@pytest.mark.parametrize("moment", _ENDS)
@pytest.mark.parametrize("how", [How.SAVEPOINT, How.NOTHING])
def test_an_end_is_finished(plane: Plane, how: How, moment: str) -> None:
    live = plane.flink.live("counting")[0]
    kind = Kind.STOP if how is How.SAVEPOINT else Kind.CANCEL
    kill(plane, EndPlan("counting", live.id, how), kind, moment)
    with pytest.raises(RefusedError, match="only finished"):
        resume(plane, undo=True)
    resume(plane)
    assert plane.flink.live("counting") == []
    assert last_operation(plane).state is OperationState.DONE
    assert plane.deployments.desired["counting"].desired is Desired.STOPPED
    # Whatever moment it was, its state is known, and the next one goes on from there.
    newest = plane.savepoints.all("counting", there_only=True)[0]
    assert newest.path == plane.flink.newest_state(live.id).path  # type: ignore[union-attr]
    plane.deploy()
    assert plane.flink.live("counting")[0].savepoint == newest.path


@pytest.mark.parametrize("moment", [f"rescale-{when}" for when in _WHEN])
def test_a_scaling_in_place_is_finished(plane: Plane, moment: str) -> None:
    plane.flink.adaptive = True
    live = plane.flink.live("counting")[0]
    kill(plane, ScalePlan("counting", live.id, 2, 1), Kind.SCALE, moment)
    with pytest.raises(RefusedError, match="only finished"):
        resume(plane, undo=True)
    resume(plane)
    assert last_operation(plane).state is OperationState.DONE
    assert plane.deployments.all("counting")[0].release.parallelism == 2
    assert [job.id for job in plane.flink.live("counting")] == [live.id]


@pytest.mark.parametrize("moment", _STARTS)
def test_a_deploy_is_finished(plane: Plane, moment: str) -> None:
    plane.stop()
    kill(plane, decide_deploy(plane.place, plane.release("2"), None, Wish()), Kind.DEPLOY, moment)
    resume(plane)
    assert plane.live_version() == "2"
    assert len(plane.flink.live("counting")) == 1
    assert plane.deployments.desired["counting"].desired is Desired.RUNNING


@pytest.mark.parametrize("moment", [*_ENDS, *_STARTS])
@pytest.mark.parametrize("undo", [False, True])
def test_a_rollback_is_finished_or_undone(plane: Plane, moment: str, undo: bool) -> None:
    plane.upgrade()
    live = plane.place.eyes.flink.live_job("counting")
    plan = decide_rollback(plane.place, live, "counting", None, Wish())
    kill(plane, plan, Kind.ROLLBACK, moment)
    resume(plane, undo=undo)
    plane.wait(5)
    assert plane.live_version() == ("2" if undo else "1")
    assert len(plane.flink.live("counting")) == 1
