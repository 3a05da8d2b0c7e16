"""The closed lists of the control plane: what is done, in which steps, and what is told of it."""

from enum import StrEnum


class Kind(StrEnum):
    """What an operation does."""

    DEPLOY = "deploy"
    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    SCALE = "scale"
    RESTART = "restart"
    STOP = "stop"
    CANCEL = "cancel"
    REPLAY = "replay"


class OperationState(StrEnum):
    """How far an operation is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    UNDONE = "undone"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self is not OperationState.RUNNING


class Step(StrEnum):
    """The steps of operations, in the order in which they are gone through."""

    # Only where a new version is tried beside the old one first.
    COPY = "copy"
    TRIAL = "trial"
    CLEAR = "clear"
    SUSPEND = "suspend"
    START = "start"
    WATCH = "watch"
    # From here on only when one of those failed.
    HALT = "halt"
    RETURN = "return"
    SETTLE = "settle"
    RESCALE = "rescale"
    # Of a replay, after its start.
    RUN = "run"
    RECONCILE = "reconcile"

    @property
    def description(self) -> str:
        """What happens in it."""
        return _STEPS[self]


_STEPS = {
    Step.COPY: "take a savepoint of the running job for a trial",
    Step.TRIAL: "run the new version beside the old one and compare what they write",
    Step.CLEAR: "end the trial and delete what it wrote",
    Step.SUSPEND: "stop the running job so that its state is kept",
    Step.START: "start the new version from that state, or a replay beside the live job",
    Step.WATCH: "watch whether the new version is well",
    Step.HALT: "end the new version and choose the state to return to",
    Step.RETURN: "start the old version again",
    Step.SETTLE: "wait until the old version runs",
    Step.RESCALE: "change the parallelism of the running job",
    Step.RUN: "wait until the replay has read its span to the end",
    Step.RECONCILE: "compare what came out with what should have",
}


class Origin(StrEnum):
    """Why a savepoint was taken."""

    MANUAL = "manual"
    PERIODIC = "periodic"
    STOP = "stop"
    # As the last word of a job: its sources had ended, its windows were closed.
    DRAIN = "drain"
    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    SCALE = "scale"
    # A copy of the state for a trial of a new version.
    TRIAL = "trial"
    # A checkpoint that Flink took by itself and kept: of a job that could not be stopped properly.
    CHECKPOINT = "checkpoint"


class SavepointState(StrEnum):
    """What became of a savepoint."""

    PENDING = "pending"
    THERE = "there"
    FAILED = "failed"
    LOST = "lost"
    DISPOSED = "disposed"

    @property
    def is_over(self) -> bool:
        """Whether it will never be restored from."""
        return self not in {SavepointState.PENDING, SavepointState.THERE}


class DeploymentState(StrEnum):
    """What became of a deployment."""

    STARTING = "starting"
    LIVE = "live"
    ENDED = "ended"
    FAILED = "failed"


class Desired(StrEnum):
    """What is wanted of a job."""

    RUNNING = "running"
    STOPPED = "stopped"


class Event(StrEnum):
    """What can be told of a job."""

    STARTED = "started"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    UNHEALTHY = "unhealthy"
    HEALTHY = "healthy"
    RETURNED = "returned"
    RESCALED = "rescaled"
    RESUMED = "resumed"
    RESTARTED = "restarted"
    GIVEN_UP = "given-up"
    FINISHED = "finished"
    COMPARED = "compared"
    SWAPPED = "swapped"
    DROPPED = "dropped"
    SAVEPOINT_TAKEN = "savepoint-taken"
    SAVEPOINT_FAILED = "savepoint-failed"
    SAVEPOINT_DISPOSED = "savepoint-disposed"
    SAVEPOINT_LOST = "savepoint-lost"
    SAVEPOINT_VERIFIED = "savepoint-verified"
    SCHEDULED = "scheduled"

    @property
    def description(self) -> str:
        """What it means."""
        return _EVENTS[self]


_EVENTS = {
    Event.STARTED: "a deployment was submitted to Flink",
    Event.SUSPENDED: "a job was ended and its state kept, to go on in another deployment",
    Event.STOPPED: "a job was stopped with a savepoint",
    Event.CANCELLED: "a job was ended without a savepoint",
    Event.UNHEALTHY: "a deployment did not do well, and was taken back",
    Event.HEALTHY: "a deployment was found well",
    Event.RETURNED: "the version before was started again",
    Event.RESCALED: "a running job was given another parallelism",
    Event.RESUMED: "an operation that was left unfinished was taken up again",
    Event.RESTARTED: "the control loop started a failed job again",
    Event.GIVEN_UP: "the control loop starts a failed job no more",
    Event.FINISHED: "a replay has read its span to the end",
    Event.COMPARED: "what a replay wrote was compared with what it should have written",
    Event.SWAPPED: "what a replay wrote beside the live job took the place of what was there",
    Event.DROPPED: "what a replay wrote beside the live job was deleted",
    Event.SAVEPOINT_TAKEN: "a savepoint was completed",
    Event.SAVEPOINT_FAILED: "a savepoint was not completed",
    Event.SAVEPOINT_DISPOSED: "a savepoint was deleted",
    Event.SAVEPOINT_LOST: "a savepoint's files are gone",
    Event.SAVEPOINT_VERIFIED: "a savepoint was proven to be readable, or restorable",
    Event.SCHEDULED: "how often savepoints are taken, or which are kept, was changed",
}


def because(what: str, reason: str) -> str:
    """Return what is told of an event, with the reason that a person gave."""
    return f"{what} (why: {reason})" if reason else what
