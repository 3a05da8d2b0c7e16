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
from control.lifecycle.run import NotOverError
from control.lifecycle.states import checkpoint_at, kept_checkpoint
from control.lifecycle.words import Origin, SavepointState
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
        number = place.savepoints.begin(
            name, job, trigger, Origin(meant["origin"]), meant.get("deployment"),
            meant.get("operation"),
        )
        known = place.savepoints.get(number)
        if known is not None and known.state is SavepointState.FAILED:
            # Given up before the command was killed: the job ran on after it.
            continue
        path = _stop_once(place, job, trigger, meant)
        if path is not None:
            return _write_down(place, job, trigger, path)
    message = f"Job {job} lost its JobManager {_ATTEMPTS} times while it was being stopped."
    raise SluiceError(message, "Look at the JobManager's log; the job runs on as before.")


def _write_down(place: Workplace, job: str, trigger: str, path: str) -> dict[str, Any]:
    size = place.eyes.savepoint_size(job, path)
    other = place.savepoints.at(path)
    if other is None or other.trigger == trigger:
        place.savepoints.complete(trigger, path, size)
    else:
        place.savepoints.fail(trigger, f"the job ended with savepoint {other.number}")
    return {"path": path, "size": size}


def _stop_once(
    place: Workplace, job: str, trigger: str, meant: Mapping[str, Any]
) -> str | None:
    """Stop with one trigger; return the path, or None when the JobManager forgot about it."""
    flink = place.eyes.flink
    folder = trigger_folder(meant.get("folder"), str(meant["job"]), trigger)
    place.guard.check()
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
        # Nobody can call it back: the job will end as soon as it is complete.
        message = f"The savepoint of job {job} was not complete after {_STOP_SECONDS} s."
        raise NotOverError(
            message, f"It goes on, and the job ends with it. `sluice resume {meant['job']}` waits"
                     " for it again; `sluice status` shows whether backpressure holds it up.",
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
    end_job(place, job)
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


def last_snapshot(place: Workplace, job: str) -> str | None:
    """Return the last snapshot that Flink knows of a job, where it knows the job."""
    found = _snapshot_now(place, job)
    return found.path if found is not None else None


def _snapshot_now(place: Workplace, job: str, *, final: bool = False) -> Checkpoint | None:
    eyes = place.eyes
    try:
        return _snapshot_of(eyes.final_checkpoints(job) if final
                            else eyes.patiently(lambda: eyes.flink.checkpoints(job)))
    except FlinkUnknownError:
        # A JobManager that was started anew has forgotten what is over.
        kept = kept_checkpoint(place.checkpoint_folder, job)
        return checkpoint_at(kept) if kept is not None else None


def _cancel_keeping(place: Workplace, meant: Mapping[str, Any]) -> dict[str, Any]:
    job = str(meant["flink_job"])
    state = place.eyes.state(job)
    snapshot = _snapshot_now(place, job)
    if snapshot is None and meant.get("snapshot"):
        # Seen before the job was touched.
        snapshot = checkpoint_at(str(meant["snapshot"]))
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
        end_job(place, job)
    newest = _snapshot_now(place, job, final=True) or snapshot
    place.savepoints.adopt(
        str(meant["job"]), job, newest.path, Origin.CHECKPOINT, meant.get("deployment"),
        meant.get("operation"), newest.size,
    )
    return {"path": newest.path, "size": newest.size}


def _snapshot_of(found: Checkpoints) -> Checkpoint | None:
    if found.newest is None and found.restored_path is not None:
        # It has not got as far as a checkpoint of its own.
        return checkpoint_at(found.restored_path)
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


def end_job(place: Workplace, job: str) -> None:
    """Cancel a job, if it is there, and wait until it is surely gone."""
    place.guard.check()
    if place.eyes.find(job) in {None, *ENDED}:
        return
    # Where it has ended by itself meanwhile, that is all the same.
    with suppress(FlinkConflictError, FlinkUnknownError):
        place.eyes.patiently(lambda: place.eyes.flink.cancel(job))
    place.eyes.wait_until_over(job, _CANCEL_SECONDS)


def attempt_of(trigger: str, attempt: int) -> str:
    """Return the trigger of a further attempt: the same for whoever comes after a crash."""
    if attempt == 0:
        return trigger
    return hashlib.md5(f"{trigger} {attempt}".encode(), usedforsecurity=False).hexdigest()
