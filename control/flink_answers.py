"""What Flink's REST API answers, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A job in one of these states will never run again by itself.
ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})


@dataclass(frozen=True)
class Cluster:
    """A Flink cluster: its version and its slots."""

    version: str
    task_managers: int
    slots: int
    free_slots: int


@dataclass(frozen=True)
class FlinkJob:
    """A job as Flink lists it."""

    id: str
    name: str
    state: str
    # Milliseconds since 1970.
    started: int
    # Whether every task runs.
    all_run: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in ENDED


@dataclass(frozen=True)
class Checkpoint:
    """A completed checkpoint, or savepoint."""

    number: int
    path: str
    # Milliseconds since 1970, when it was complete.
    at: int
    size: int
    duration_ms: int
    is_savepoint: bool
    # Whether it is the savepoint that the job was stopped with.
    ends_job: bool = False


@dataclass(frozen=True)
class Checkpoints:
    """How a job's checkpoints went since its JobManager knows it."""

    completed: int
    failed: int
    running: int
    last: Checkpoint | None
    last_savepoint: Checkpoint | None
    last_failure: str | None
    restored_path: str | None

    @property
    def newest(self) -> Checkpoint | None:
        """The newest snapshot of either kind."""
        both = [one for one in (self.last, self.last_savepoint) if one is not None]
        return max(both, key=lambda one: one.number, default=None)


@dataclass(frozen=True)
class Outcome:
    """How far something is that was triggered: under way, done, or failed."""

    is_over: bool
    # Of a savepoint that is there.
    path: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Requirement:
    """The parallelism that a vertex asks for."""

    lowest: int
    highest: int


def read_job(entry: Mapping[str, Any]) -> FlinkJob:
    """Read an entry of the list of jobs."""
    tasks = entry.get("tasks") or {}
    total = int(tasks.get("total", 0))
    return FlinkJob(
        str(entry["jid"]), str(entry["name"]), str(entry["state"]), int(entry["start-time"]),
        total > 0 and int(tasks.get("running", 0)) == total,
    )


def read_outcome(answer: Mapping[str, Any]) -> Outcome:
    """Read the answer to a poll: Flink calls a failed operation completed, too."""
    if answer["status"]["id"] != "COMPLETED":
        return Outcome(is_over=False)
    operation = answer.get("operation") or {}
    cause = operation.get("failure-cause")
    if cause is None:
        return Outcome(True, operation.get("location"))
    return Outcome(True, None, str(cause.get("stack-trace") or cause.get("class")))


def read_checkpoints(answer: Mapping[str, Any]) -> Checkpoints:
    """Read a job's checkpoint statistics."""
    counts = answer.get("counts") or {}
    latest = answer.get("latest") or {}
    restored = latest.get("restored") or {}
    failed = latest.get("failed") or {}
    return Checkpoints(
        int(counts.get("completed", 0)), int(counts.get("failed", 0)),
        int(counts.get("in_progress", 0)),
        _read_checkpoint(latest.get("completed")), _read_checkpoint(latest.get("savepoint")),
        failed.get("failure_message"), restored.get("external_path"),
    )


def _read_checkpoint(entry: Mapping[str, Any] | None) -> Checkpoint | None:
    # One that was completed may be deleted already, or lie in memory only.
    if entry is None or entry.get("discarded") or not entry.get("external_path"):
        return None
    return Checkpoint(
        int(entry["id"]), str(entry["external_path"]), int(entry["latest_ack_timestamp"]),
        int(entry["state_size"]), int(entry["end_to_end_duration"]),
        bool(entry.get("is_savepoint")), entry.get("checkpoint_type") == "SYNC_SAVEPOINT",
    )
