"""Which savepoints nobody may delete, which go by themselves, and how one is deleted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control.errors import RefusedError, SluiceError
from control.lifecycle.deployments import Deployment, Wanted
from control.lifecycle.keeping import spared, to_prune
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.snapshots import dispose_savepoint, is_lost, take_savepoint
from control.lifecycle.words import DeploymentState, Desired, Event, Kind, Origin, SavepointState
from tests.unit.lifecycle_kit import Plane, running_plane
from tests.unit.loop_kit import LoopPlane

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WANTED = Wanted("counting", Desired.RUNNING, timedelta(minutes=10), 3, timedelta(days=2))
UNSAID = replace(WANTED, keep_count=None, keep_for=None)
DAY = 60 * 24


def savepoint(number: int, *, minutes: float = 0, origin: Origin = Origin.PERIODIC,
              flink_job: str = "a", verified: str = "") -> Savepoint:
    at = NOW - timedelta(minutes=minutes)
    return Savepoint(number, "counting", None, None, flink_job, str(number), f"file:/{number}",
                     origin, SavepointState.THERE, 1, at, at, verified, None, "")


def deployment(number: int, flink_job: str, restored_from: str | None = None,
               state: DeploymentState = DeploymentState.ENDED) -> Deployment:
    return Deployment(number, Plane().release(), 1, None, flink_job, restored_from, state, NOW,
                      None)


def pruned(wanted: Wanted, there: list[Savepoint], *deployments: Deployment) -> list[int]:
    return [one.number for one in to_prune(wanted, there, deployments, NOW)]


def test_the_newest_are_kept() -> None:
    there = [savepoint(number, minutes=10 - number) for number in range(1, 7)]
    assert pruned(WANTED, there) == [3, 2, 1]


def test_the_last_good_one_is_kept_however_old() -> None:
    assert pruned(WANTED, [savepoint(1, minutes=30 * DAY)]) == []


def test_old_ones_go_although_they_are_few() -> None:
    assert pruned(WANTED, [savepoint(1, minutes=3 * DAY), savepoint(2)]) == [1]


def test_the_last_verified_one_is_kept() -> None:
    there = [savepoint(1, minutes=3 * DAY, verified="read"), savepoint(2)]
    assert pruned(WANTED, there) == []


@pytest.mark.parametrize("origin", [Origin.MANUAL, Origin.CHECKPOINT])
def test_what_is_somebody_elses_is_kept(origin: Origin) -> None:
    assert pruned(WANTED, [savepoint(1, minutes=3 * DAY, origin=origin), savepoint(2)]) == []


def test_what_is_taken_by_hand_is_not_counted() -> None:
    by_hand = [savepoint(number, origin=Origin.MANUAL) for number in range(4, 9)]
    assert pruned(WANTED, [savepoint(1), savepoint(2), savepoint(3), *by_hand]) == []


def test_what_a_deployment_needs_is_kept() -> None:
    there = [savepoint(1, minutes=3 * DAY), savepoint(2, minutes=3 * DAY),
             savepoint(3, minutes=3 * DAY, flink_job="b"), savepoint(4, flink_job="b")]
    # 1: the live one began with it; 2: the newest that the one before left.
    assert pruned(WANTED, there, deployment(2, "b", "file:///1/", DeploymentState.LIVE),
                  deployment(1, "a")) == [3]


def test_where_nobody_has_said_how_many_only_what_a_schedule_made_goes() -> None:
    there = [savepoint(1, minutes=30 * DAY, origin=Origin.STOP),
             savepoint(2, minutes=30 * DAY, origin=Origin.UPGRADE),
             savepoint(3, minutes=30 * DAY), savepoint(4)]
    assert pruned(replace(UNSAID, savepoint_every=None), there) == [3]
    assert pruned(UNSAID, there) == [3]
    assert pruned(WANTED, there) == [3, 2, 1]
    assert pruned(replace(UNSAID, keep_count=1), there) == [3, 2, 1]


def test_by_the_tools_own_measure_five_are_kept_for_two_weeks() -> None:
    assert pruned(UNSAID, [savepoint(number) for number in range(1, 8)]) == [2, 1]
    assert pruned(UNSAID, [savepoint(1, minutes=15 * DAY), savepoint(2, minutes=13 * DAY),
                           savepoint(3)]) == [1]


def test_what_is_spared_is_told_why() -> None:
    there = [
        *(savepoint(number, flink_job=name) for number, name in enumerate("aabbccdd", 1)),
        savepoint(9, flink_job="d", verified="read"), savepoint(10, flink_job="e"),
    ]
    found = spared(there, [
        deployment(1, "a"), deployment(2, "b", "file:/2"), deployment(3, "c", "file:/4"),
        # Two that were taken back do not push out those before.
        deployment(4, "x", "file:/6", DeploymentState.FAILED),
        deployment(5, "y", "file:/6", DeploymentState.FAILED),
        deployment(6, "d", "file:/6"), deployment(7, "e", "file:/8", DeploymentState.LIVE),
    ])
    assert found == {
        10: "it is the newest", 9: "it is the last one verified",
        8: "deployment 7 began with it", 6: "deployment 6 began with it",
        4: "deployment 3 began with it",
    }


def test_a_newer_checkpoint_does_not_replace_the_newest_savepoint() -> None:
    there = [savepoint(1), savepoint(2), savepoint(3, origin=Origin.CHECKPOINT)]
    assert set(spared(there, [])) == {2, 3}


# How one is deleted.

@pytest.fixture
def plane() -> Plane:
    return running_plane()


def taken(plane: Plane, origin: Origin = Origin.MANUAL) -> Savepoint:
    return take_savepoint(plane.place, "counting", plane.flink.live("counting")[0].id, origin)


def state(plane: Plane, one: Savepoint) -> SavepointState:
    return plane.savepoints.rows[one.number].state


def test_one_that_nobody_needs_is_deleted(plane: Plane) -> None:
    first, _ = taken(plane), taken(plane)
    done = dispose_savepoint(plane.place, first, reason="the disk is full")
    assert done is state(plane, first) is SavepointState.DISPOSED
    assert first.path not in plane.flink.files
    [told] = plane.ledger.events(event=Event.SAVEPOINT_DISPOSED)
    assert (told.savepoint, told.who, told.reason) == (1, "ada@desk", "the disk is full")


@pytest.mark.parametrize(("prepare", "why"), [
    ("nothing", "it is the newest"),
    ("verify", "the last one verified"),
    ("upgrade", "deployment 2 began with it"),
    ("go on", "the last one of deployment 1"),
    ("operate", "upgrade 2 of counting"),
])
def test_one_that_is_needed_is_not_deleted(plane: Plane, prepare: str, why: str) -> None:
    if prepare == "upgrade":
        plane.upgrade()
        [one] = plane.savepoints.all("counting")
        taken(plane)
        taken(plane)
    elif prepare == "go on":
        one = taken(plane)
        plane.upgrade(plane.release("2"))
        # What it was stopped with is gone; what is left of the first is this one.
        plane.savepoints.set_state(one.number + 1, SavepointState.LOST)
        taken(plane)
    else:
        one = taken(plane)
        if prepare != "nothing":
            taken(plane)
        if prepare == "verify":
            plane.savepoints.verified(one.number, "read", 1)
        if prepare == "operate":
            plane.ledger.begin("counting", Kind.UPGRADE, {}, "")
    with pytest.raises(RefusedError, match=why):
        dispose_savepoint(plane.place, one)
    assert state(plane, one) is SavepointState.THERE


def test_one_whose_files_are_gone_is_lost_not_deleted(plane: Plane) -> None:
    first, _ = taken(plane), taken(plane)
    del plane.flink.files[str(first.path)]
    assert dispose_savepoint(plane.place, first) is SavepointState.LOST
    assert state(plane, first) is SavepointState.LOST
    assert plane.ledger.events(event=Event.SAVEPOINT_DISPOSED) == []


def test_one_that_this_machine_cannot_see_is_deleted_by_flink(plane: Plane) -> None:
    # file:/savepoints is a folder of the cluster's machines.
    first, _ = taken(plane), taken(plane)
    assert dispose_savepoint(plane.place, first) is SavepointState.DISPOSED
    assert first.path not in plane.flink.files


def test_a_jobmanager_that_dies_meanwhile_says_nothing_of_it(plane: Plane) -> None:
    first, _ = taken(plane), taken(plane)
    plane.clock.later(0.1, plane.flink.restart_jobmanager)
    with pytest.raises(SluiceError, match="started anew"):
        dispose_savepoint(plane.place, first)
    assert state(plane, first) is SavepointState.THERE
    plane.wait(20)
    # Flink had deleted it.
    assert dispose_savepoint(plane.place, first) is SavepointState.LOST


# Whether one is lost.

def on_disk(one: Savepoint, folder: Path) -> Savepoint:
    return replace(one, path=f"file:{folder}")


def test_what_is_gone_from_a_folder_that_is_seen_is_lost(tmp_path: Path) -> None:
    one = savepoint(1)
    home = tmp_path / "volume" / "counting" / "1" / "savepoint-a"
    home.mkdir(parents=True)
    assert is_lost(on_disk(one, home))
    (home / "_metadata").touch()
    assert not is_lost(on_disk(one, home))


def test_what_lies_in_a_volume_that_is_not_mounted_here_is_not_lost(tmp_path: Path) -> None:
    one = on_disk(savepoint(1), tmp_path / "volume" / "counting" / "1" / "savepoint-a")
    assert not is_lost(one)
    # The place where it would be mounted.
    (tmp_path / "volume").mkdir()
    assert not is_lost(one)
    # Another job's lie there: it is mounted.
    (tmp_path / "volume" / "ingest").mkdir()
    assert is_lost(one)


def test_a_checkpoint_lies_in_its_jobs_folder(tmp_path: Path) -> None:
    one = replace(savepoint(1, origin=Origin.CHECKPOINT, flink_job="e" * 32), trigger=None)
    home = tmp_path / "volume" / one.flink_job / "chk-7"
    assert not is_lost(on_disk(one, home))
    (tmp_path / "volume" / "other").mkdir(parents=True)
    assert is_lost(on_disk(one, home))


def test_what_lies_in_a_store_is_not_looked_for() -> None:
    assert not is_lost(replace(savepoint(1), path="s3://a/b"))


# The loop deletes while it holds the job.

@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> LoopPlane:
    found = LoopPlane(monkeypatch)
    for _ in range(3):
        taken(found, Origin.PERIODIC)
        found.wait(10)
    found.deployments.schedule("counting", None, 1, None)
    return found


def test_the_loop_holds_a_job_while_it_deletes(loop: LoopPlane) -> None:
    loop.look()
    assert loop.held == ["counting"]
    assert [one.number for one in loop.savepoints.all(there_only=True)] == [3]
    assert loop.said == ["counting: savepoint 2 is disposed", "counting: savepoint 1 is disposed"]
    loop.look()
    assert loop.held == ["counting"]


def test_of_a_job_that_somebody_holds_nothing_is_deleted(loop: LoopPlane) -> None:
    loop.holders["counting"] = "ada@desk, pid 7"
    [said] = loop.look()
    assert "ada@desk" in said
    assert len(loop.savepoints.all(there_only=True)) == 3
    del loop.holders["counting"]
    loop.look()
    assert len(loop.savepoints.all(there_only=True)) == 1


def test_without_a_schedule_the_loop_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = LoopPlane(monkeypatch)
    for version in "234567":
        plane.upgrade(plane.release(version))
        plane.wait(5)
    for one in plane.savepoints.all():
        long_ago = one.begun_at - timedelta(days=30)
        plane.savepoints.rows[one.number] = replace(one, begun_at=long_ago)
    assert len(plane.savepoints.all(there_only=True)) == 6
    assert plane.look() == []
    assert len(plane.savepoints.all(there_only=True)) == 6


def test_a_savepoint_that_fails_does_not_keep_the_loop_from_deleting(loop: LoopPlane) -> None:
    loop.deployments.schedule("counting", timedelta(seconds=10), 1, None)
    loop.flink.break_savepoints("java.io.IOException: No space left on device")
    said = loop.look()
    assert "No space left" in said[0]
    assert [one.number for one in loop.savepoints.all(there_only=True)] == [3]
