"""End a bounded job that has read all and waits for ever.

A Kafka source that goes on from a checkpoint after its JobManager has died is never told that it
will be given no more to read (FLINK-31006): it reads to its end, and the job runs on.
"""

import uuid
from contextlib import suppress

from control.errors import TimedOutError
from control.flink import FlinkConflictError, FlinkUnknownError
from control.lifecycle.eyes import Sight
from control.lifecycle.run import Say
from control.lifecycle.workplace import Workplace, trigger_folder

# Nothing was read for so long: Kafka is asked whether there is something left.
_QUIET_SECONDS = 10.0
_DRAIN_SECONDS = 600.0


class Stuck:
    """Watches one bounded job for that."""

    def __init__(self, place: Workplace, job: str, say: Say) -> None:
        self._place = place
        self._job = job
        self._say = say
        self._read = -1
        self._since = place.clock.now()

    def is_quiet(self, sight: Sight, read: int) -> bool:
        """Tell, once in a while, that the job was restored and has read no more for a while."""
        now = self._place.clock.now()
        restored = sight.checkpoints is not None and sight.checkpoints.restored_path is not None
        if not restored or read != self._read:
            self._read, self._since = read, now
        if now - self._since < _QUIET_SECONDS:
            return False
        self._since = now
        return True

    def drain(self) -> None:
        """Let it write and commit what it holds, as at the end of its sources, and end."""
        self._say("all is read, but it does not end by itself: ending it")
        eyes, trigger = self._place.eyes, uuid.uuid4().hex
        folder = trigger_folder(self._place.savepoint_folder, self._job, trigger)
        self._place.guard.check()
        # Where it has ended meanwhile that is all the same; else it is tried again.
        with suppress(FlinkConflictError, FlinkUnknownError, TimedOutError):
            eyes.patiently(lambda: eyes.flink.stop(self._job, trigger, drain=True, folder=folder))
            outcome = eyes.wait(
                "drained", _DRAIN_SECONDS,
                lambda: found if (found := eyes.flink.outcome(self._job, trigger)).is_over
                else None,
            )
            if outcome.path is not None:
                # Nobody will ever go on from there.
                eyes.flink.dispose(outcome.path)
