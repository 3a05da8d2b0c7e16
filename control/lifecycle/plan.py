"""What will be done, decided before anything is: a value that can be printed and kept."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from control.lifecycle.deployments import Release
from control.lifecycle.words import Kind


class How(StrEnum):
    """How the running job is suspended."""

    SAVEPOINT = "savepoint"
    LAST_CHECKPOINT = "last-state"
    # Nothing runs.
    NOTHING = "nothing"


@dataclass(frozen=True)
class Suspend:
    """How the running job is suspended, and which one."""

    how: How
    flink_job: str | None = None
    # How old the last checkpoint may be, where it is what is gone on from.
    max_age_seconds: float = 0
    drain: bool = False


@dataclass(frozen=True)
class Restore:
    """What state the new version begins with: of the suspended job, at a path, or none."""

    suspended: bool = False
    path: str | None = None
    allow_dropped: bool = False
    # Also where nobody knows what wrote it.
    allow_unknown: bool = False

    @property
    def has_state(self) -> bool:
        """Whether it begins with any."""
        return self.suspended or self.path is not None


@dataclass(frozen=True)
class Watch:
    """When the new version counts as good, and when as bad."""

    checkpoints: int
    seconds: float
    give_up_seconds: float
    max_restarts: int
    max_lag: int
    # The share of refused messages that is allowed.
    max_refused: float


@dataclass(frozen=True)
class Trial:
    """A run of the new version beside the old one, from a copy of its state."""

    # The id that it will have in Flink.
    flink_job: str
    seconds: float
    # The share of records that may differ.
    allowed: float


@dataclass(frozen=True)
class Plan:
    """A change of a job."""

    kind: Kind
    release: Release
    # The id that the new version will have in Flink.
    flink_job: str
    suspend: Suspend
    restore: Restore
    watch: Watch
    # The deployment to return to when the new version is not well.
    undo: int | None = None
    # What the person should know before it is done.
    note: str = ""
    trial: Trial | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the plan as it is kept."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say what will be done, for a person."""
        steps = (self._trial(), self._suspend(), self._restore(), self._watch(), self._undo())
        return [line for line in steps if line]

    def _trial(self) -> str:
        if self.trial is None:
            return ""
        return (f"take a savepoint, run version {self.release.version} from it beside the old one"
                f" for {self.trial.seconds:.0f} s, into topics and tables of its own, and compare:"
                f" {self.trial.allowed:.1%} may differ, else nothing more is done")

    def _suspend(self) -> str:
        return {
            How.SAVEPOINT: f"stop job {self.suspend.flink_job} with a savepoint",
            How.LAST_CHECKPOINT: f"cancel job {self.suspend.flink_job} and keep its last"
                                 f" checkpoint, if it is not older than"
                                 f" {self.suspend.max_age_seconds:.0f} s",
            How.NOTHING: "",
        }[self.suspend.how]

    def _restore(self) -> str:
        state = ("its state" if self.restore.suspended
                 else f"the state in {self.restore.path}" if self.restore.path else "no state")
        given = "; state without a place is given up" if self.restore.allow_dropped else ""
        return (f"start version {self.release.version} with {self.release.parallelism} tasks,"
                f" from {state}{given}")

    def _watch(self) -> str:
        watch = self.watch
        return (f"watch it for {watch.seconds:.0f} s and {watch.checkpoints} checkpoints:"
                f" not more than {watch.max_restarts} restarts, {watch.max_refused:.1%} refused,"
                f" less than {watch.max_lag:,} behind or catching up")

    def _undo(self) -> str:
        return (f"if it is not well: back to deployment {self.undo}" if self.undo
                else "if it is not well: end it, keeping what state there is")


def plan_from_json(content: Mapping[str, Any]) -> Plan:
    """Read a plan that was kept."""
    return Plan(
        kind=Kind(content["kind"]),
        release=Release(**content["release"]),
        flink_job=content["flink_job"],
        suspend=Suspend(**{**content["suspend"], "how": How(content["suspend"]["how"])}),
        restore=Restore(**content["restore"]),
        watch=Watch(**content["watch"]),
        undo=content["undo"],
        note=content["note"],
        trial=Trial(**content["trial"]) if content.get("trial") else None,
    )
