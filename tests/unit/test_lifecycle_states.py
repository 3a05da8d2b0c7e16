"""Where a job's last state lies, and what wrote it."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control.errors import RefusedError
from control.lifecycle.back import TakenBackError
from control.lifecycle.decide import Wish, decide_deploy
from control.lifecycle.deployments import Deployment
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.snapshots import take_savepoint
from control.lifecycle.states import StateUnknownError, last_state, state_of, writer_at
from control.lifecycle.words import DeploymentState, Origin, SavepointState
from tests.kit.fake_flink_job import FakeJob
from tests.unit.lifecycle_kit import Plane, running_plane

_CHECKPOINTS = "execution.checkpointing.dir"


@pytest.fixture
def plane() -> Plane:
    return running_plane()


@pytest.fixture
def job(plane: Plane) -> FakeJob:
    return plane.flink.live("counting")[0]


def periodic(plane: Plane, job: FakeJob) -> Savepoint:
    """Take a savepoint, and let the job go on for a while."""
    taken = take_savepoint(plane.place, "counting", job.id, Origin.PERIODIC)
    plane.wait(20)
    return taken


def newest(plane: Plane, job: FakeJob) -> str:
    found = plane.flink.newest_state(job.id)
    assert found is not None
    return found.path


def live(plane: Plane) -> Deployment:
    found = plane.deployments.live("counting")
    assert found is not None
    return found


def left(plane: Plane) -> str | None:
    return last_state(plane.place, "counting").path


# What Flink tells.

def test_a_failed_job_leaves_its_last_checkpoint_not_a_savepoint_before_it(
    plane: Plane, job: FakeJob
) -> None:
    taken = periodic(plane, job)
    plane.flink.fail(job.id, restarts=False)
    plane.wait(1)
    assert left(plane) == newest(plane, job) != taken.path
    plane.deploy()
    assert plane.flink.live("counting")[0].savepoint == newest(plane, job)


def test_a_savepoint_after_the_last_checkpoint_is_newer(plane: Plane, job: FakeJob) -> None:
    job.completes_checkpoints = False
    taken = periodic(plane, job)
    plane.flink.fail(job.id, restarts=False)
    assert left(plane) == taken.path


def test_a_savepoint_that_was_deleted_is_no_state(plane: Plane, job: FakeJob) -> None:
    job.completes_checkpoints = False
    taken = periodic(plane, job)
    plane.savepoints.set_state(taken.number, SavepointState.DISPOSED)
    plane.flink.fail(job.id, restarts=False)
    last = left(plane)
    assert last is not None
    assert "/chk-" in last


def test_what_completed_no_checkpoint_has_done_nothing(plane: Plane) -> None:
    plane.stop()
    [stopped] = plane.savepoints.all("counting")
    plane.flink.when_submitted = lambda one: plane.flink.crash(one.id, after=20, restarts=0)
    plane.deploy()
    again = plane.flink.live("counting")[0]
    # A JobManager that starts again has counted nothing yet, and the job fails before it does.
    again.completes_checkpoints = False
    for path in [one.path for one in again.kept]:
        del plane.flink.files[path]
    again.kept.clear()
    plane.flink.restart_jobmanager()
    plane.wait(60)
    assert again.state == "FAILED"
    assert left(plane) == stopped.path


def test_what_somebody_stopped_by_other_means_is_gone_on_from(
    plane: Plane, job: FakeJob
) -> None:
    periodic(plane, job)
    plane.place.eyes.flink.stop(job.id, "c" * 32, folder="file:///elsewhere")
    plane.wait(10)
    assert job.state == "FINISHED"
    path = left(plane)
    assert path is not None
    assert path.startswith("file:/elsewhere/")
    found = writer_at(plane.place, path)
    assert found is not None
    assert found.flink_job == job.id


def test_what_ended_by_itself_does_not_begin_before_its_end(plane: Plane, job: FakeJob) -> None:
    periodic(plane, job)
    plane.flink.finish(job.id)
    assert left(plane) is None
    with pytest.raises(RefusedError, match="no state"):
        plane.deploy()


def test_what_an_operation_ended_is_known_without_flink(plane: Plane, job: FakeJob) -> None:
    periodic(plane, job)
    plane.stop()
    stopped = plane.savepoints.all("counting")[0]
    plane.flink.forget(job.id)
    assert left(plane) == stopped.path


def test_when_the_state_of_its_end_is_lost_an_older_one_is_no_substitute(
    plane: Plane, job: FakeJob
) -> None:
    periodic(plane, job)
    plane.stop()
    stopped = plane.savepoints.all("counting")[0]
    plane.savepoints.set_state(stopped.number, SavepointState.LOST)
    assert left(plane) is None


# What nobody can tell.

def test_a_job_that_flink_has_forgotten_is_not_begun_from_a_guess(
    plane: Plane, job: FakeJob
) -> None:
    taken = periodic(plane, job)
    plane.flink.fail(job.id, restarts=False)
    plane.flink.forget(job.id)
    with pytest.raises(StateUnknownError, match="file:///checkpoints") as refused:
        state_of(plane.place, live(plane))
    assert "--from PATH" in refused.value.hint
    with pytest.raises(RefusedError, match="cannot be seen from here") as told:
        plane.deploy()
    assert "--from PATH" in told.value.hint
    plane.deploy(wish=Wish(start_from=taken.path))
    assert plane.flink.live("counting")[0].savepoint == taken.path


def test_without_state_it_is_begun_when_told(plane: Plane, job: FakeJob) -> None:
    plane.flink.forget(job.id)
    plan = decide_deploy(plane.place, plane.release(), None, Wish(fresh=True))
    assert "the state of deployment 1 is given up: Flink has forgotten" in plan.note
    plane.change(plan)
    assert plane.flink.live("counting")[0].savepoint is None


def test_a_job_that_left_no_checkpoint_has_ended_in_a_way_nobody_saw(
    plane: Plane, job: FakeJob, disk: "Disk"
) -> None:
    disk.savepoint(periodic(plane, job), minutes=5)
    disk.checkpoints(job.id)
    plane.flink.forget(job.id)
    with pytest.raises(StateUnknownError, match="left no checkpoint"):
        state_of(plane.place, live(plane))


# What lies on this machine.

class Disk:
    """A folder of checkpoints and savepoints on this machine, each as old as is told."""

    def __init__(self, plane: Plane, home: Path) -> None:
        self._plane = plane
        self.home = home
        plane.flink.settings[_CHECKPOINTS] = f"file://{home}"

    def checkpoints(self, job: str, **numbers: float) -> None:
        """Keep checkpoints of a job: chk_7=3 is number 7, three minutes old."""
        (self.home / job).mkdir(parents=True)
        for name, minutes in numbers.items():
            self._write(self.home / job / name.replace("_", "-"), minutes)

    def savepoint(self, one: Savepoint, minutes: float) -> str:
        """Move a savepoint here."""
        path = self.home / f"savepoint-{one.number}"
        self._write(path, minutes)
        self._plane.savepoints.rows[one.number] = replace(one, path=f"file:{path}")
        return f"file:{path}"

    def _write(self, folder: Path, minutes: float) -> None:
        folder.mkdir()
        (folder / "_metadata").touch()
        at = self._plane.clock.now() - 60 * minutes
        os.utime(folder / "_metadata", (at, at))


@pytest.fixture
def disk(plane: Plane, tmp_path: Path) -> Disk:
    return Disk(plane, tmp_path)


def test_a_savepoint_is_as_old_as_it_is_not_as_when_that_was_written_down(
    plane: Plane, job: FakeJob, disk: Disk
) -> None:
    taken = periodic(plane, job)
    disk.savepoint(taken, minutes=30)
    # The database was away, or nobody asked what became of it.
    plane.savepoints.rows[taken.number] = replace(
        plane.savepoints.rows[taken.number],
        completed_at=datetime.fromtimestamp(plane.clock.now(), UTC),
    )
    disk.checkpoints(job.id, chk_9=11, chk_10=10)
    plane.flink.forget(job.id)
    assert left(plane) == f"file:{disk.home}/{job.id}/chk-10"


def test_the_newer_one_counts(plane: Plane, job: FakeJob, disk: Disk) -> None:
    path = disk.savepoint(periodic(plane, job), minutes=5)
    disk.checkpoints(job.id, chk_9=10)
    plane.flink.forget(job.id)
    assert left(plane) == path


def test_a_savepoint_that_cannot_be_looked_at_is_not_preferred(
    plane: Plane, job: FakeJob, disk: Disk
) -> None:
    periodic(plane, job)
    disk.checkpoints(job.id, chk_9=10)
    plane.flink.forget(job.id)
    assert left(plane) == f"file:{disk.home}/{job.id}/chk-9"


def test_a_job_may_keep_its_checkpoints_elsewhere(plane: Plane, job: FakeJob, disk: Disk) -> None:
    disk.checkpoints(job.id, chk_9=10)
    plane.flink.forget(job.id)
    own = live(plane)
    elsewhere = replace(own.release, settings={"flink": {_CHECKPOINTS: "s3://a/b"}})
    assert state_of(plane.place, own) is not None
    with pytest.raises(StateUnknownError, match="s3://a/b"):
        state_of(plane.place, replace(own, release=elsewhere))


def fail(plane: Plane, version: str, after: float) -> None:
    """Let a version fail for good, each time that it is started."""
    def give(job: FakeJob) -> None:
        if job.user_config["version"] == version:
            plane.flink.crash(job.id, after=after, restarts=0)

    plane.flink.when_submitted = give


def test_what_a_deployment_did_before_it_failed_stands(plane: Plane) -> None:
    plane.stop()
    fail(plane, "2", after=8)
    with pytest.raises(TakenBackError):
        plane.deploy(plane.release("2"), Wish(watch_seconds=30))
    failed = plane.deployments.all("counting")[0]
    assert failed.state is DeploymentState.FAILED
    newest = plane.flink.newest_state(failed.flink_job)
    assert newest is not None
    assert left(plane) == newest.path


def test_a_deployment_that_never_ran_leaves_what_it_was_given(plane: Plane) -> None:
    plane.stop()
    path = left(plane)
    fail(plane, "2", after=0.1)
    with pytest.raises(TakenBackError):
        plane.deploy(plane.release("2"))
    assert left(plane) == path
    plane.flink.forget(plane.deployments.all("counting")[0].flink_job)
    assert left(plane) == path


def test_an_upgrade_that_was_taken_back_is_not_gone_on_from(plane: Plane, job: FakeJob) -> None:
    fail(plane, "2", after=0.1)
    with pytest.raises(TakenBackError):
        plane.upgrade()
    plane.wait(20)
    plane.stop()
    assert left(plane) == plane.savepoints.all("counting")[0].path


def test_a_return_that_failed_leaves_what_it_was_given(plane: Plane) -> None:
    # The new version has committed; the old one does not run any more either.
    plane.flink.when_submitted = lambda one: plane.flink.crash(
        one.id, after=8 if one.user_config["version"] == "2" else 0.1, restarts=0
    )
    with pytest.raises(TakenBackError, match="does not run either"):
        plane.upgrade(wish=Wish(watch_seconds=30))
    newer = next(one for one in plane.deployments.all("counting") if one.release.version == "2")
    newest = plane.flink.newest_state(newer.flink_job)
    assert newest is not None
    assert left(plane) == newest.path


def test_what_a_first_deployment_did_not_get_to_do_is_no_loss() -> None:
    plane = Plane()
    fail(plane, "1", after=0.1)
    with pytest.raises(TakenBackError):
        plane.deploy()
    plane.deploy(plane.release("2"))
    assert plane.live_version() == "2"
    assert plane.flink.live("counting")[0].savepoint is None


def test_a_fresh_one_that_never_ran_has_given_up_nothing(plane: Plane) -> None:
    plane.stop()
    path = left(plane)
    fail(plane, "2", after=0.1)
    with pytest.raises(TakenBackError):
        plane.deploy(plane.release("2"), Wish(fresh=True))
    assert left(plane) == path


# What wrote it.

def writer(plane: Plane, path: str) -> int | None:
    found = writer_at(plane.place, path)
    return found.number if found else None


def test_who_wrote_a_savepoint_is_known_however_its_address_is_written(
    plane: Plane, job: FakeJob
) -> None:
    taken = periodic(plane, job)
    # The name tells nothing of whose it is.
    path = "file:/savepoints/before-the-holidays"
    plane.savepoints.rows[taken.number] = replace(taken, path=path)
    for written in (path, f"{path}/", path.replace("file:/", "file:///"), f"{path}/_metadata"):
        assert writer(plane, written) == 1


def test_who_wrote_a_checkpoint_that_nobody_took_over_is_known(
    plane: Plane, job: FakeJob
) -> None:
    path = newest(plane, job)
    assert plane.savepoints.at(path) is None
    assert writer(plane, path) == 1


def test_who_wrote_what_came_from_elsewhere_is_not_known(plane: Plane) -> None:
    assert writer(plane, "s3://elsewhere/savepoint-1") is None
    assert writer(plane, f"s3://elsewhere/{'e' * 32}/chk-1") is None


def test_state_from_elsewhere_is_gone_on_from_when_told(plane: Plane) -> None:
    plane.stop()
    wish = Wish(start_from="s3://elsewhere/savepoint-1", allow_unknown=True)
    plan = decide_deploy(plane.place, plane.release(), None, wish)
    assert (plan.restore.path, plan.restore.allow_unknown) == ("s3://elsewhere/savepoint-1", True)
