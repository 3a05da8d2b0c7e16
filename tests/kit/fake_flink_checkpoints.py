"""The checkpoints of one job of the fake, as Flink counts and shows them."""

from dataclasses import dataclass
from typing import Any

_HISTORY = 10


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint or savepoint that lies somewhere."""

    path: str
    job: str
    number: int
    # Seconds since 1970, when it was begun: it holds what had happened until then.
    at: float
    is_savepoint: bool
    uids: frozenset[str]


def normal(path: str) -> str:
    """Return a path as Flink shows it: file:///a/b/ is file:/a/b."""
    rest = path.removeprefix("file:")
    return "file:/" + rest.strip("/") if rest.startswith("/") else path.rstrip("/")


class FakeCheckpoints:
    """What one JobManager has counted of a job's checkpoints."""

    def __init__(self, first: int = 1) -> None:
        self.next_number = first
        self.completed = 0
        self.failed = 0
        self.in_progress = 0
        self.restored = 0
        self._last: dict[str, Any] | None = None
        self._last_savepoint: dict[str, Any] | None = None
        self._last_failed: dict[str, Any] | None = None
        self._last_restored: dict[str, Any] | None = None
        self._history: list[dict[str, Any]] = []

    def take_number(self) -> int:
        """Return the number of the next checkpoint."""
        self.next_number += 1
        return self.next_number - 1

    def complete(self, snapshot: Snapshot, now: float, *, ends_job: bool = False) -> None:
        """Count a snapshot that is complete."""
        self.completed += 1
        entry = {
            **_entry("completed", snapshot.number, snapshot.at, now, snapshot.is_savepoint),
            "checkpoint_type": "SYNC_SAVEPOINT" if ends_job
                               else "SAVEPOINT" if snapshot.is_savepoint else "CHECKPOINT",
            "external_path": snapshot.path, "discarded": False,
        }
        if snapshot.is_savepoint:
            self._last_savepoint = entry
        else:
            self._last = entry
        self._remember(entry)

    def fail(self, begun: float, now: float, why: str, *, is_savepoint: bool = False) -> None:
        """Count one that failed."""
        self.failed += 1
        self._last_failed = {
            **_entry("failed", self.take_number(), begun, now, is_savepoint),
            "checkpoint_type": "SAVEPOINT" if is_savepoint else "CHECKPOINT",
            "failure_timestamp": round(now * 1000), "failure_message": why,
        }
        self._remember(self._last_failed)

    def restore(self, number: int, path: str, now: float, *, is_savepoint: bool) -> None:
        """Count that the job went on from a snapshot."""
        self.restored += 1
        self._last_restored = {
            "id": number, "restore_timestamp": round(now * 1000), "is_savepoint": is_savepoint,
            "external_path": path,
        }

    def discard(self, path: str) -> None:
        """Note that Flink has deleted one."""
        for entry in (*self._history, self._last, self._last_savepoint):
            if entry is not None and entry.get("external_path") == path:
                entry["discarded"] = True

    def body(self) -> dict[str, Any]:
        """Return all of it as Flink answers."""
        done = [entry for entry in self._history if entry["className"] == "completed"]
        sizes = _summary([entry["state_size"] for entry in done])
        nothing = _summary([])
        return {
            "counts": {
                "restored": self.restored, "completed": self.completed, "failed": self.failed,
                "total": self.completed + self.failed + self.in_progress,
                "in_progress": self.in_progress,
            },
            "summary": {
                "checkpointed_size": sizes, "state_size": sizes,
                "end_to_end_duration": _summary([entry["end_to_end_duration"] for entry in done]),
                "alignment_buffered": nothing, "processed_data": nothing,
                "persisted_data": nothing,
            },
            "latest": {
                "completed": _copy(self._last), "savepoint": _copy(self._last_savepoint),
                "failed": _copy(self._last_failed), "restored": _copy(self._last_restored),
            },
            "history": [dict(entry) for entry in self._history],
        }

    def _remember(self, entry: dict[str, Any]) -> None:
        self._history = [entry, *self._history][:_HISTORY]


def _entry(
    kind: str, number: int, begun: float, now: float, is_savepoint: bool
) -> dict[str, Any]:
    size = 40_000 + 100 * number
    return {
        "className": kind, "id": number, "status": kind.upper(), "is_savepoint": is_savepoint,
        "savepointFormat": "CANONICAL" if is_savepoint else None,
        "trigger_timestamp": round(begun * 1000), "latest_ack_timestamp": round(now * 1000),
        "checkpointed_size": size, "state_size": size,
        "end_to_end_duration": round((now - begun) * 1000), "alignment_buffered": 0,
        "processed_data": 0, "persisted_data": 0, "num_subtasks": 1,
        "num_acknowledged_subtasks": 1 if kind == "completed" else 0, "tasks": {},
    }


def _summary(values: list[int]) -> dict[str, float | str]:
    quantiles = ("p50", "p90", "p95", "p99", "p999")
    if not values:
        return {"min": 0, "max": 0, "avg": 0, **dict.fromkeys(quantiles, "NaN")}
    ordered = sorted(values)
    return {
        "min": ordered[0], "max": ordered[-1], "avg": sum(ordered) // len(ordered),
        **dict.fromkeys(quantiles, float(ordered[len(ordered) // 2])),
    }


def _copy(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if entry is None else dict(entry)
