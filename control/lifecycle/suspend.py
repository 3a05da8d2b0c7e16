"""End a running job so that its state is kept, and find that state whatever happens meanwhile."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from control.errors import SluiceError, TimedOutError
from control.flink import FlinkConflictError, FlinkUnknownError
from control.flink_answers import ENDED, Checkpoint, Checkpoints
from control.flink_words import reason
from control.lifecycle.plan import How
from control.lifecycle.words import Origin
from control.lifecycle.workplace import Workplace, trigger_folder

# A savepoint of much state takes its time; a job that is stuck takes for ever.
_STOP_SECONDS = 600
_CANCEL_SECONDS = 120
_ATTEMPTS = 3
# How Flink says that the savepoint is there although the job failed while it stopped.
_CREATED = re.compile(r"[Ss]avepoint has been created at:?\s*(\S+?),?\s")


class NothingToKeepError(SluiceError):
    """There is no state that could be gone on from."""


def suspend(place: Workplace, meant: Mapping[str, Any]) -> dict[str, Any]:
    """End the job as meant; return where its state is. Harmless when done again."""
    how = How(meant["how"])
    if how is How.NOTHING:
        return {"path": None}
    if how is How.LAST_CHECKPOINT:
        return _cancel_keeping(place, meant)
    return _stop(place, meant)


def _stop(place: Workplace, meant: Mapping[str, Any]) -> dict[str, Any]:
    job, name = str(meant["flink_job"]), str(meant["job"])
    for attempt in range(_ATTEMPTS):
        trigger = attempt_of(str(meant["trigger"]), attempt)
        place.savepoints.begin(
            name, job, trigger, Origin(meant["origin"]), meant.get("deployment"),
            meant.get("operation"),
        )
        path = _stop_once(place, job, trigger, meant)
        if path is not None:
            size = place.eyes.savepoint_size(job, path)
            place.savepoints.complete(trigger, path, size)
            return {"path": path, "size": size}
    message = f"Job {job} lost its JobManager {_ATTEMPTS} times while it was being stopped."
    raise SluiceError(message, "Look at the JobManager's log; the job runs on as before.")


def _stop_once(
    place: Workplace, job: str, trigger: str, meant: Mapping[str, Any]
) -> str | None:
    """Stop with one trigger; return the path, or None when the JobManager forgot about it."""
    flink = place.eyes.flink
    folder = trigger_folder(meant.get("folder"), str(meant["job"]), trigger)
    try:
        place.eyes.patiently(
            lambda: flink.stop(job, trigger, drain=bool(meant.get("drain")), folder=folder,
                               native=bool(meant.get("native")))
        )
        outcome = place.eyes.wait(
            "stopped with a savepoint", _STOP_SECONDS,
            lambda: found if (found := flink.outcome(job, trigger)).is_over else None,
        )
    except (FlinkUnknownError, FlinkConflictError):
        return _after_forgetting(place, job, trigger, folder)
    except TimedOutError as error:
        place.savepoints.fail(trigger, error.message)
        message = f"The savepoint of job {job} was not complete after {_STOP_SECONDS} s."
        raise TimedOutError(
            message,
            "Is it stuck? `sluice status` shows backpressure; --strategy last-state needs none.",
        ) from error
    if outcome.path is not None:
        state = place.eyes.wait_until_over(job, _STOP_SECONDS)
        return _newest(place, job, outcome.path) if state == "FAILED" else outcome.path
    failure = outcome.failure or "no word"
    created = _CREATED.search(f"{failure} ")
    if created is None:
        if place.eyes.state(job) in {None, *ENDED}:
            # Stopped before, by a trigger that Flink has forgotten since; or it ended by itself.
            return _after_forgetting(place, job, trigger, folder)
        place.savepoints.fail(trigger, reason(failure))
        message = f"Job {job} was not stopped: its savepoint failed: {reason(failure)}"
        raise SluiceError(message, "The job runs on as before. Mend the cause and try again.")
    # The savepoint is good, but Flink may start the job again from the checkpoint before it.
    _end(place, job)
    return _newest(place, job, created[1])


def _after_forgetting(
    place: Workplace, job: str, trigger: str, folder: str | None
) -> str | None:
    """Find out what became of a trigger that Flink does not know, or a job that is over."""
    state = place.eyes.state(job)
    if state not in {None, *ENDED}:
        place.savepoints.fail(trigger, "the JobManager was started anew meanwhile")
        # It is back, and so is the job: once more, as soon as all of it runs.
        place.eyes.wait(f"running again (job {job})", _CANCEL_SECONDS,
                        lambda: _may_stop(place, job))
        return None
    place.eyes.wait_until_over(job, _CANCEL_SECONDS)
    found = place.find_kept(folder)
    if found is None and state is not None:
        snapshot = place.eyes.final_checkpoints(job).newest
        found = snapshot.path if snapshot is not None else None
    if found is None:
        message = f"Job {job} is over, and where its last state lies is not known."
        raise NothingToKeepError(
            message, "`sluice savepoint list` shows what is there; go on with `sluice deploy JOB"
                     " --from PATH`."
        )
    return found


def _may_stop(place: Workplace, job: str) -> bool | None:
    found = place.eyes.flink.job(job)
    return True if found is not None and (found.all_run or found.is_over) else None


def _cancel_keeping(place: Workplace, meant: Mapping[str, Any]) -> dict[str, Any]:
    job = str(meant["flink_job"])
    snapshot = _snapshot_of(place.eyes.patiently(lambda: place.eyes.flink.checkpoints(job)))
    state = place.eyes.state(job)
    if snapshot is None:
        message = f"Job {job} has no completed checkpoint to go on from."
        raise NothingToKeepError(message, "Wait for one, or start without state: --fresh.")
    if state not in ENDED:
        age = place.clock.now() - snapshot.at / 1000
        if snapshot.at and age > float(meant["max_age_seconds"]):
            message = f"The last checkpoint of job {job} is {age:.0f} s old."
            raise NothingToKeepError(
                message, f"More than {meant['max_age_seconds']:.0f} s is too old; --max-age"
                         " allows it: events since then are processed again.",
            )
        _end(place, job)
    newest = _snapshot_of(place.eyes.final_checkpoints(job)) or snapshot
    place.savepoints.adopt(
        str(meant["job"]), job, newest.path, Origin.CHECKPOINT, meant.get("deployment"),
        meant.get("operation"), newest.size,
    )
    return {"path": newest.path, "size": newest.size}


def _snapshot_of(found: Checkpoints) -> Checkpoint | None:
    if found.newest is None and found.restored_path is not None:
        # It has not got as far as a checkpoint of its own.
        return Checkpoint(0, found.restored_path, 0, 0, 0, is_savepoint=False)
    return found.newest


def _newest(place: Workplace, job: str, savepoint: str) -> str:
    """Return a savepoint, or the checkpoint that the job completed after it.

    A job that failed while it stopped may have been started again by Flink, and have gone on: what
    it committed since then must not be done twice.
    """
    found = place.eyes.final_checkpoints(job)
    taken = found.last_savepoint
    if found.last is None or (
        taken is not None and taken.path.rstrip("/") == savepoint.rstrip("/")
        and taken.number > found.last.number
    ):
        return savepoint
    if taken is None:
        # Flink does not count it among the job's own: it was taken before the last start.
        return found.last.path
    return found.last.path if found.last.number > taken.number else savepoint


def _end(place: Workplace, job: str) -> None:
    # Where it has ended by itself meanwhile, that is all the same.
    with suppress(FlinkConflictError, FlinkUnknownError):
        place.eyes.patiently(lambda: place.eyes.flink.cancel(job))
    place.eyes.wait_until_over(job, _CANCEL_SECONDS)


def end_job(place: Workplace, job: str) -> None:
    """Cancel a job, if it is there, and wait until it is surely gone."""
    if place.eyes.state(job) is None:
        place.eyes.wait_until_over(job, _CANCEL_SECONDS)
        return
    _end(place, job)


def attempt_of(trigger: str, attempt: int) -> str:
    """Return the trigger of a further attempt: the same for whoever comes after a crash."""
    if attempt == 0:
        return trigger
    return hashlib.md5(f"{trigger} {attempt}".encode(), usedforsecurity=False).hexdigest()
