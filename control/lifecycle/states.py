"""Where the last state of a job lies."""

from dataclasses import dataclass

from control.lifecycle.addresses import job_of_checkpoint
from control.lifecycle.deployments import Deployment
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.words import SavepointState
from control.lifecycle.workplace import Workplace
from control.savepoint_metadata import local_path


@dataclass(frozen=True)
class LastState:
    """What is left of a job that ran, or that it never ran."""

    ran: bool
    deployment: int | None = None
    path: str | None = None


def last_state(place: Workplace, job: str) -> LastState:
    """Return where the state lies that a job ended with."""
    last = place.deployments.last_good(job)
    if last is None:
        return LastState(ran=False)
    return LastState(True, last.number, state_of(place, last))


def writer_at(place: Workplace, path: str) -> Deployment | None:
    """Return the deployment whose state lies at an address, where that is known."""
    savepoint = place.savepoints.at(path)
    if savepoint is not None:
        return writer_of(place, savepoint)
    # A checkpoint that Flink kept is no row of ours, but lies in its job's folder.
    job = job_of_checkpoint(path)
    return place.deployments.of_flink_job(job) if job is not None else None


def writer_of(place: Workplace, savepoint: Savepoint) -> Deployment | None:
    """Return the deployment that wrote a savepoint, where that is known."""
    if savepoint.deployment is not None:
        return place.deployments.get(savepoint.deployment)
    return place.deployments.of_flink_job(savepoint.flink_job)


def state_of(place: Workplace, deployment: Deployment) -> str | None:
    """Return the last state that a deployment left: a savepoint, or a checkpoint after it."""
    job = deployment.flink_job
    savepoint = next(
        (one for one in place.savepoints.all(deployment.release.job, 1000, there_only=True)
         if one.flink_job == job and one.path), None,
    )
    kept = kept_checkpoint(place.checkpoint_folder, job)
    if savepoint is None or savepoint.state is not SavepointState.THERE:
        return kept
    home = local_path(kept) if kept is not None else None
    if home is not None and savepoint.completed_at is not None:
        # A job that ran on after its savepoint has done what the savepoint does not know.
        at = (home / "_metadata").stat().st_mtime
        if at > savepoint.completed_at.timestamp():
            return kept
    return savepoint.path


def kept_checkpoint(folder: str | None, flink_job: str) -> str | None:
    """Return the newest checkpoint that Flink kept of a job, where this machine can look."""
    home = local_path(folder) if folder is not None else None
    if home is None:
        return None
    found = [
        (int(path.parent.name.removeprefix("chk-")), path.parent)
        for path in home.glob(f"{flink_job}/chk-*/_metadata")
    ]
    return f"file:{max(found)[1]}" if found else None
