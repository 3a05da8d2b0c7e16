"""Take, verify and delete savepoints of running jobs."""

import re
import uuid

from control.errors import RefusedError, SluiceError
from control.flink import FlinkUnknownError
from control.flink_words import reason as reason_of
from control.lifecycle.keeping import spared
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.words import Event, Origin, SavepointState
from control.lifecycle.workplace import Workplace, trigger_folder
from control.savepoint_metadata import SavepointMetadata, local_path, read_metadata
from control.stack.component import StackContext

_SECONDS = 600
_MOST = 100_000
# How Flink says that there is no savepoint, or not all that makes it one.
_NOT_FOUND = re.compile("Cannot find (checkpoint or savepoint|meta data) file")


def take_savepoint(
    place: Workplace, job: str, flink_job: str, origin: Origin, trigger: str | None = None, *,
    reason: str = "",
) -> Savepoint:
    """Take a savepoint of a running job. With the same trigger again it is the same one."""
    trigger = trigger or uuid.uuid4().hex
    deployment = place.deployments.of_flink_job(flink_job)
    number = place.savepoints.begin(job, flink_job, trigger, origin,
                                    deployment.number if deployment else None)
    folder = trigger_folder(place.savepoint_folder, job, trigger)
    flink = place.eyes.flink
    try:
        place.eyes.patiently(lambda: flink.savepoint(flink_job, trigger, folder))
        outcome = place.eyes.wait(
            "a savepoint", _SECONDS,
            lambda: found if (found := flink.outcome(flink_job, trigger)).is_over else None,
        )
    except SluiceError as error:
        _failed(place, job, number, trigger, error.message, reason)
        if isinstance(error, FlinkUnknownError):
            message = f"The JobManager was started anew while it took the savepoint of {job}."
            raise SluiceError(message, "Try again; the job runs on.") from error
        raise
    if outcome.path is None:
        why = reason_of(outcome.failure or "")
        _failed(place, job, number, trigger, why, reason)
        message = f"The savepoint of {job} failed: {why}"
        raise SluiceError(message, "The job runs on. Mend the cause and try again.")
    size = place.eyes.savepoint_size(flink_job, outcome.path)
    place.savepoints.complete(trigger, outcome.path, size)
    place.ledger.tell(job, Event.SAVEPOINT_TAKEN, f"{number}: {outcome.path}", savepoint=number,
                      reason=reason)
    found = place.savepoints.get(number)
    if found is None:
        message = f"Savepoint {number} is not in the database any more."
        raise SluiceError(message, "Did somebody delete it?")
    return found


def settle_pending(place: Workplace, job: str) -> None:
    """Wait for savepoints that are under way, and write down what became of forgotten ones."""
    flink = place.eyes.flink
    for one in place.savepoints.pending(job):
        trigger = str(one.trigger)
        try:
            outcome = place.eyes.wait(
                f"over: savepoint {one.number}", _SECONDS,
                lambda one=one, trigger=trigger: found if (  # type: ignore[misc]
                    found := flink.outcome(one.flink_job, trigger)).is_over else None,
            )
        except FlinkUnknownError:
            place.savepoints.fail(trigger, "Flink has forgotten it")
            continue
        if outcome.path is not None:
            place.savepoints.complete(trigger, outcome.path, None)
        else:
            place.savepoints.fail(trigger, reason_of(outcome.failure or ""))


def _failed(
    place: Workplace, job: str, number: int, trigger: str, why: str, reason: str
) -> None:
    place.savepoints.fail(trigger, why)
    place.ledger.tell(job, Event.SAVEPOINT_FAILED, why, savepoint=number, reason=reason)


def verify_savepoint(
    place: Workplace, context: StackContext, savepoint: Savepoint, *, reason: str = ""
) -> SavepointMetadata:
    """Prove that a savepoint can be read and that its files are there; write that down."""
    if savepoint.path is None or savepoint.state.is_over:
        message = f"Savepoint {savepoint.number} is {savepoint.state}: there is nothing to verify."
        raise RefusedError(message, "`sluice savepoint list` shows those that are there.")
    try:
        found = read_metadata(context, savepoint.path)
    except SluiceError as error:
        if is_lost(savepoint):
            _lost(place, savepoint, error.message, reason)
        raise
    faults = [file.fault for file in found.files if file.fault is not None]
    if faults:
        detail = f"{len(faults)} of {len(found.files)} files: {faults[0]}"
        _lost(place, savepoint, detail, reason)
        message = f"Savepoint {savepoint.number} cannot be restored: {detail}."
        raise SluiceError(message, "It is marked as lost. Take another one.")
    place.savepoints.verified(savepoint.number, "read", found.size)
    place.ledger.tell(savepoint.job, Event.SAVEPOINT_VERIFIED,
                      f"{savepoint.number}: {len(found.operators)} operators,"
                      f" {len(found.files)} files, {found.size:,} bytes",
                      savepoint=savepoint.number, reason=reason)
    return found


def is_lost(savepoint: Savepoint) -> bool:
    """Tell whether a savepoint is surely gone: this machine sees where it lay, and not it."""
    home = local_path(savepoint.path) if savepoint.path is not None else None
    if home is None:
        return False
    # It lies in a folder of the trigger in one of the job; a checkpoint in one of the Flink job.
    above = {savepoint.trigger: 2, savepoint.flink_job: 1}.get(home.parent.name, 0)
    base = home.parents[above]
    try:
        # A volume that is not mounted here is an empty folder, or none.
        seen = base.is_dir() and any(base.iterdir())
        return seen and not (home / "_metadata").is_file()
    except OSError:
        # Nobody who may not look can tell.
        return False


def mark_lost(place: Workplace, savepoint: Savepoint) -> None:
    """Write down that a savepoint's files are gone."""
    _lost(place, savepoint, "its files are gone")


def _lost(place: Workplace, savepoint: Savepoint, detail: str, reason: str = "") -> None:
    place.savepoints.set_state(savepoint.number, SavepointState.LOST, detail)
    place.ledger.tell(savepoint.job, Event.SAVEPOINT_LOST, f"{savepoint.number}: {detail}",
                      savepoint=savepoint.number, reason=reason)


def needed_by(place: Workplace, savepoint: Savepoint) -> str | None:
    """Return who needs a savepoint, or None when it can be deleted."""
    kept = spared(place.savepoints.all(savepoint.job, _MOST, there_only=True),
                  place.deployments.all(savepoint.job, 1000))
    if savepoint.number in kept:
        return kept[savepoint.number]
    operation = place.ledger.unfinished(savepoint.job)
    return f"{operation.title} is not over" if operation is not None else None


def dispose_savepoint(
    place: Workplace, savepoint: Savepoint, *, reason: str = ""
) -> SavepointState:
    """Delete a savepoint that nobody needs, while its job is held; return what became of it.

    It is lost where Flink, which sees what this machine may not see, finds no files any more.
    """
    number, path = savepoint.number, savepoint.path
    if path is None or savepoint.state.is_over:
        message = f"Savepoint {number} is {savepoint.state} already."
        raise RefusedError(message, "There is nothing to delete.")
    if savepoint.origin is Origin.CHECKPOINT:
        message = f"Savepoint {number} is a checkpoint that Flink owns."
        raise RefusedError(message, "Others may share its files: Flink deletes those that nobody"
                                    " needs.")
    user = needed_by(place, savepoint)
    if user is not None:
        message = f"Savepoint {number} of {savepoint.job} is needed: {user}."
        raise RefusedError(message, "Take or verify another one first, or finish what needs it.")
    flink = place.eyes.flink
    trigger = place.eyes.patiently(lambda: flink.dispose(path))
    try:
        outcome = place.eyes.wait(
            "deleted", _SECONDS,
            lambda: found if (found := flink.disposed(trigger)).is_over else None,
        )
    except FlinkUnknownError as error:
        message = f"The JobManager was started anew while it deleted savepoint {number}."
        raise SluiceError(message, "Try again: whether it is gone is found out then.") from error
    if outcome.failure is not None and _NOT_FOUND.search(outcome.failure):
        _lost(place, savepoint, "Flink found none when it was to delete it", reason)
        return SavepointState.LOST
    if outcome.failure is not None:
        message = f"Savepoint {number} was not deleted: {reason_of(outcome.failure)}"
        raise SluiceError(message, "`sluice savepoint verify` tells whether it is whole.")
    place.savepoints.set_state(number, SavepointState.DISPOSED)
    place.ledger.tell(savepoint.job, Event.SAVEPOINT_DISPOSED, f"{number}: {path}",
                      savepoint=number, reason=reason)
    return SavepointState.DISPOSED
