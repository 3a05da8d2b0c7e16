"""Where the last state of a job lies, and what wrote it.

To go on from older state than the newest does again what is committed already. So what Flink tells
of the job's end counts first, then what lies on this machine; where neither can tell, nobody
guesses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from control.errors import RefusedError
from control.flink import FlinkUnknownError
from control.flink_answers import Checkpoint
from control.lifecycle.addresses import job_in
from control.lifecycle.deployments import Deployment
from control.lifecycle.ledger import StepRow
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.watch import UNKNOWN_SECONDS
from control.lifecycle.words import DeploymentState, Kind, SavepointState, Step
from control.lifecycle.workplace import CHECKPOINTS, Workplace
from control.savepoint_metadata import local_path

# What starts a job that does not run.
_STARTS = frozenset({Kind.DEPLOY, Kind.RESTART, Kind.ROLLBACK})
_GOOD = frozenset({DeploymentState.LIVE, DeploymentState.ENDED})
_NEVER_THERE = frozenset({SavepointState.PENDING, SavepointState.FAILED})


class StateUnknownError(RefusedError):
    """Where the newest state of a job lies cannot be told."""

    def __init__(self, deployment: Deployment, why: str) -> None:
        super().__init__(
            f"Deployment {deployment.number} of {deployment.release.job}: {why}.",
            "Say which state to go on from: --from PATH.",
        )
        self.why = why


@dataclass(frozen=True)
class LastState:
    """What is left of a job that ran, or that it never ran."""

    ran: bool
    deployment: int | None = None
    path: str | None = None
    # Of a job that ran and has no path.
    why: str = "no state of it is known"


@dataclass(frozen=True)
class _Told:
    """What Flink tells of the state that a job left: where, or that nothing is left."""

    path: str | None


def last_state(place: Workplace, job: str) -> LastState:
    """Return where the state lies that a job ended with."""
    for one in place.deployments.all(job, 1000):
        if one.state not in _GOOD and not _stands(place, one):
            continue
        try:
            path = state_of(place, one)
        except StateUnknownError as error:
            return LastState(True, one.number, None, error.why)
        # One that failed, had begun with nothing and left nothing, might never have been.
        if one.state in _GOOD or path is not None or one.restored_from is not None:
            return LastState(True, one.number, path)
    return LastState(ran=False)


def writer_at(place: Workplace, path: str) -> Deployment | None:
    """Return the deployment whose state lies at an address, where that is known."""
    savepoint = place.savepoints.at(path)
    if savepoint is not None:
        return writer_of(place, savepoint)
    # What Flink kept, or somebody took by other means, is no row of ours, but bears its job's name.
    name = job_in(path)
    found = place.deployments.begun_as(name) if name is not None else []
    return found[0] if len(found) == 1 else None


def writer_of(place: Workplace, savepoint: Savepoint) -> Deployment | None:
    """Return the deployment that wrote a savepoint, where that is known."""
    if savepoint.deployment is not None:
        return place.deployments.get(savepoint.deployment)
    return place.deployments.of_flink_job(savepoint.flink_job)


def state_of(place: Workplace, deployment: Deployment) -> str | None:
    """Return the last state that a deployment left, None where nothing is left of it."""
    known = [one for one in place.savepoints.of_flink_job(deployment.flink_job)
             if one.state not in _NEVER_THERE]
    # An operation that ended a job has written down the state that it ended with.
    ended_with = next((one for one in known if one.operation is not None), None)
    if ended_with is not None and deployment.state is not DeploymentState.LIVE:
        return None if ended_with.state.is_over else ended_with.path
    told = _told_by_flink(place, deployment)
    if told is not None:
        return told.path
    if _never_ran(place, deployment):
        return deployment.restored_from
    there = next((one for one in known if not one.state.is_over), None)
    return _left_here(place, deployment, there)


def kept_checkpoint(folder: str | None, flink_job: str) -> str | None:
    """Return the newest checkpoint that Flink kept of a job, where this machine can look."""
    home = local_path(folder) if folder is not None else None
    found = _newest_in(home / flink_job) if home is not None else None
    return f"file:{found}" if found is not None else None


def checkpoint_at(path: str) -> Checkpoint:
    """Return a checkpoint of which nothing is known but where it lies."""
    name = path.rstrip("/").rpartition("/")[2].removeprefix("chk-")
    return Checkpoint(int(name) if name.isdecimal() else 0, path, 0, 0, 0, is_savepoint=False)


def _told_by_flink(place: Workplace, deployment: Deployment) -> _Told | None:
    """Return what Flink tells of a job, which it remembers for a while after its end."""
    eyes, job = place.eyes, deployment.flink_job
    # A JobManager that has just come back may not have found it yet.
    state = eyes.state(job) or eyes.wait_until_over(job, UNKNOWN_SECONDS)
    if state is None:
        return None
    try:
        found = eyes.final_checkpoints(job)
    except FlinkUnknownError:
        return None
    if state == "FINISHED":
        # Its checkpoints are deleted; only what it was stopped with is its end.
        last = found.last_savepoint
        return _Told(last.path if last is not None and last.ends_job else None)
    there = [one for one in (found.last, found.last_savepoint) if one is not None]
    whole = [one for one in there if not _is_gone(place, one.path)]
    if there:
        return _Told(max(whole, key=lambda one: one.number).path if whole else None)
    # It has completed none since its JobManager knows it: Flink itself would go on from here. Or it
    # did not even get as far as to read what it was given.
    return _Told(found.restored_path or deployment.restored_from)


def _is_gone(place: Workplace, path: str) -> bool:
    savepoint = place.savepoints.at(path)
    return savepoint is not None and savepoint.state.is_over


def _left_here(
    place: Workplace, deployment: Deployment, savepoint: Savepoint | None
) -> str | None:
    """Return the newer one of a savepoint and the last checkpoint on this machine's disk."""
    own = deployment.release.settings.get("flink", {}).get(CHECKPOINTS)
    folder = own or place.checkpoint_folder
    if folder is None and savepoint is None:
        return None
    base = local_path(folder) if folder is not None else None
    home = base / deployment.flink_job if base is not None else None
    if home is None or not home.is_dir():
        why = (f"Flink has forgotten job {deployment.flink_job}, and whether it left a checkpoint"
               f" cannot be seen from here ({folder or 'they are kept in memory'})")
        raise StateUnknownError(deployment, why)
    kept = _newest_in(home)
    if kept is None:
        if savepoint is None:
            return None
        # One that fails leaves its last checkpoint. It ended otherwise, with a state of its own.
        why = (f"Flink has forgotten job {deployment.flink_job}, which left no checkpoint: what it"
               f" did after savepoint {savepoint.number} is not known")
        raise StateUnknownError(deployment, why)
    taken_at = _written_at(local_path(savepoint.path)) if savepoint and savepoint.path else None
    written_at = _written_at(kept)
    if savepoint is not None and taken_at is not None and (
        written_at is None or taken_at > written_at
    ):
        return savepoint.path
    # Where a savepoint cannot be looked at: Flink itself goes on from the checkpoint.
    return f"file:{kept}"


def _newest_in(home: Path) -> Path | None:
    found = [(int(path.parent.name.removeprefix("chk-")), path.parent)
             for path in home.glob("chk-*/_metadata")]
    return max(found)[1] if found else None


def _written_at(home: Path | None) -> float | None:
    """Return when a snapshot was complete; not when somebody wrote that down."""
    try:
        return (home / "_metadata").stat().st_mtime if home is not None else None
    except OSError:
        return None


def _stands(place: Workplace, deployment: Deployment) -> bool:
    """Tell whether what a failed deployment did stands: nobody has gone back behind it."""
    operation = place.ledger.operation(deployment.operation)
    if deployment.state is not DeploymentState.FAILED or operation is None:
        return False
    steps = {row.step: row for row in place.ledger.steps(deployment.operation)}
    if _is_return(steps, deployment):
        return True
    halt = steps.get(Step.HALT)
    if halt is not None and halt.state == "failed":
        # Nobody could tell what it had done.
        return True
    return operation.kind in _STARTS and operation.plan.get("undo") is None


def _is_return(steps: Mapping[Step, StepRow], deployment: Deployment) -> bool:
    row = steps.get(Step.RETURN)
    return row is not None and row.intention.get("flink_job") == deployment.flink_job


def _never_ran(place: Workplace, deployment: Deployment) -> bool:
    """Tell whether nobody ever saw all of it run: then it has committed nothing."""
    if deployment.state is not DeploymentState.FAILED:
        return False
    steps = {row.step: row for row in place.ledger.steps(deployment.operation)}
    row = steps.get(Step.RETURN if _is_return(steps, deployment) else Step.START)
    return row is not None and row.state == "failed"
