"""Take, verify and delete savepoints of running jobs."""

import uuid

from control.errors import RefusedError, SluiceError
from control.flink import FlinkUnknownError
from control.flink_words import reason
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.words import Event, Origin, SavepointState
from control.lifecycle.workplace import Workplace, trigger_folder
from control.savepoint_metadata import SavepointMetadata, local_path, read_metadata
from control.stack.component import StackContext

_SECONDS = 600


def take_savepoint(
    place: Workplace, job: str, flink_job: str, origin: Origin, trigger: str | None = None
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
        _failed(place, job, trigger, error.message)
        if isinstance(error, FlinkUnknownError):
            message = f"The JobManager was started anew while it took the savepoint of {job}."
            raise SluiceError(message, "Try again; the job runs on.") from error
        raise
    if outcome.path is None:
        why = reason(outcome.failure or "")
        _failed(place, job, trigger, why)
        message = f"The savepoint of {job} failed: {why}"
        raise SluiceError(message, "The job runs on. Mend the cause and try again.")
    size = place.eyes.savepoint_size(flink_job, outcome.path)
    place.savepoints.complete(trigger, outcome.path, size)
    place.ledger.tell(job, Event.SAVEPOINT_TAKEN, f"{number}: {outcome.path}")
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
            place.savepoints.fail(trigger, reason(outcome.failure or ""))


def _failed(place: Workplace, job: str, trigger: str, why: str) -> None:
    place.savepoints.fail(trigger, why)
    place.ledger.tell(job, Event.SAVEPOINT_FAILED, why)


def verify_savepoint(
    place: Workplace, context: StackContext, savepoint: Savepoint
) -> SavepointMetadata:
    """Prove that a savepoint can be read and that its files are there; write that down."""
    if savepoint.path is None or savepoint.state.is_over:
        message = f"Savepoint {savepoint.number} is {savepoint.state}: there is nothing to verify."
        raise RefusedError(message, "`sluice savepoint list` shows those that are there.")
    try:
        found = read_metadata(context, savepoint.path)
    except SluiceError as error:
        if is_lost(savepoint.path):
            _lost(place, savepoint, error.message)
        raise
    faults = [file.fault for file in found.files if file.fault is not None]
    if faults:
        detail = f"{len(faults)} of {len(found.files)} files: {faults[0]}"
        _lost(place, savepoint, detail)
        message = f"Savepoint {savepoint.number} cannot be restored: {detail}."
        raise SluiceError(message, "It is marked as lost. Take another one.")
    place.savepoints.verified(savepoint.number, "read", found.size)
    place.ledger.tell(savepoint.job, Event.SAVEPOINT_VERIFIED,
                      f"{savepoint.number}: {len(found.operators)} operators,"
                      f" {len(found.files)} files, {found.size:,} bytes")
    return found


def is_lost(path: str) -> bool:
    """Tell whether a savepoint on this machine is surely gone."""
    home = local_path(path)
    return home is not None and not (home / "_metadata").is_file()


def mark_lost(place: Workplace, savepoint: Savepoint) -> None:
    """Write down that a savepoint's files are gone."""
    _lost(place, savepoint, "its files are gone")


def _lost(place: Workplace, savepoint: Savepoint, detail: str) -> None:
    place.savepoints.set_state(savepoint.number, SavepointState.LOST, detail)
    place.ledger.tell(savepoint.job, Event.SAVEPOINT_LOST, f"{savepoint.number}: {detail}")


def needed_by(place: Workplace, savepoint: Savepoint) -> str | None:
    """Return who needs a savepoint, or None when it can be deleted."""
    newest = place.savepoints.newest(savepoint.job)
    if newest is not None and newest.number == savepoint.number:
        return f"it is the newest of {savepoint.job}"
    for one in place.deployments.all(savepoint.job, 1000):
        if one.restored_from == savepoint.path and one.state.value in {"live", "starting"}:
            return f"deployment {one.number}, which runs, began with it"
    operation = place.ledger.unfinished(savepoint.job)
    if operation is not None:
        return f"{operation.title} is not over"
    return None


def dispose_savepoint(place: Workplace, savepoint: Savepoint) -> None:
    """Delete a savepoint that nobody needs."""
    if savepoint.path is None or savepoint.state.is_over:
        message = f"Savepoint {savepoint.number} is {savepoint.state} already."
        raise RefusedError(message, "There is nothing to delete.")
    if savepoint.origin is Origin.CHECKPOINT:
        message = f"Savepoint {savepoint.number} is a checkpoint that Flink owns."
        raise RefusedError(message, "Others may share its files: Flink deletes those that nobody"
                                    " needs.")
    user = needed_by(place, savepoint)
    if user is not None:
        message = f"Savepoint {savepoint.number} is needed: {user}."
        raise RefusedError(message, "Take another one first, or finish what needs it.")
    flink, path = place.eyes.flink, savepoint.path
    if is_lost(path):
        mark_lost(place, savepoint)
        return
    trigger = place.eyes.patiently(lambda: flink.dispose(path))
    outcome = place.eyes.wait(
        "deleted", _SECONDS,
        lambda: found if (found := flink.disposed(trigger)).is_over else None,
    )
    if outcome.failure is not None:
        message = f"Savepoint {savepoint.number} was not deleted: {reason(outcome.failure)}"
        raise SluiceError(message, "`sluice savepoint verify` tells whether it is whole.")
    place.savepoints.set_state(savepoint.number, SavepointState.DISPOSED)
    place.ledger.tell(savepoint.job, Event.SAVEPOINT_DISPOSED, f"{savepoint.number}: {path}")
