"""Where a job's last state lies, and what wrote it."""

import pytest

from control.lifecycle.decide import Wish, decide_deploy
from control.lifecycle.snapshots import take_savepoint
from control.lifecycle.states import writer_at
from control.lifecycle.words import Origin
from tests.unit.lifecycle_kit import Plane, running_plane


@pytest.fixture
def plane() -> Plane:
    return running_plane()


def writer(plane: Plane, path: str) -> int | None:
    found = writer_at(plane.place, path)
    return found.number if found else None


def test_who_wrote_a_savepoint_is_known_however_its_address_is_written(plane: Plane) -> None:
    live = plane.flink.live("counting")[0]
    path = str(take_savepoint(plane.place, "counting", live.id, Origin.MANUAL).path)
    assert path.startswith("file:/savepoints/")
    for written in (path, f"{path}/", path.replace("file:/", "file:///"), f"{path}/_metadata"):
        assert writer(plane, written) == 1


def test_who_wrote_a_checkpoint_that_nobody_took_over_is_known(plane: Plane) -> None:
    newest = plane.flink.newest_state(plane.flink.live("counting")[0].id)
    assert newest is not None
    assert plane.savepoints.at(newest.path) is None
    assert writer(plane, newest.path) == 1


def test_state_from_elsewhere_is_gone_on_from_when_told(plane: Plane) -> None:
    plane.stop()
    wish = Wish(start_from="s3://elsewhere/savepoint-1", allow_unknown=True)
    plan = decide_deploy(plane.place, plane.release(), None, wish)
    assert (plan.restore.path, plan.restore.allow_unknown) == ("s3://elsewhere/savepoint-1", True)


def test_who_wrote_what_came_from_elsewhere_is_not_known(plane: Plane) -> None:
    assert writer(plane, "s3://elsewhere/savepoint-1") is None
    assert writer(plane, f"s3://elsewhere/{'e' * 32}/chk-1") is None
