"""One job of the fake, and how Flink shows it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.kit.fake_flink_checkpoints import FakeCheckpoints, Snapshot

ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})
_JOB_STATES = (
    "INITIALIZING", "CREATED", "RUNNING", "FAILING", "FAILED", "CANCELLING", "CANCELED",
    "FINISHED", "RESTARTING", "SUSPENDED", "RECONCILING",
)
_TASK_STATES = (
    "CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING", "RUNNING", "FINISHED", "CANCELING",
    "CANCELED", "FAILED", "RECONCILING",
)

Value = float | int | str
Reading = Value | Sequence[Value]
# What a test sets as a metric: a value, one for each subtask, or what to ask for it.
Metric = Reading | Callable[["FakeJob"], Reading]


@dataclass(frozen=True)
class FakeVertex:
    """A task of a job, with all that is chained in it."""

    name: str
    parallelism: int
    max_parallelism: int

    @property
    def id(self) -> str:
        """Its id in Flink's addresses."""
        return hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Failure:
    """An exception in a job's history."""

    at: float
    stack: str
    task: str | None


@dataclass(frozen=True)
class Crash:
    """How a job dies whenever it runs: after how long, of what, and how often it may come back."""

    after: float
    stack: str
    # None: for ever.
    restarts: int | None


@dataclass
class FakeJob:
    """A job, its tasks, its checkpoints and what it measures."""

    id: str
    name: str
    user_config: dict[str, str]
    uids: frozenset[str]
    vertices: list[FakeVertex]
    savepoint: str | None
    allow_dropped: bool
    started: float
    state: str = "INITIALIZING"
    tasks: str = "CREATED"
    ended: float | None = None
    changed: dict[str, float] = field(default_factory=dict)
    # What was planned for an earlier run of it does not happen any more.
    run: int = 0
    restarts: int = 0
    slots: int = 0
    is_stopping: bool = False
    exceptions: list[Failure] = field(default_factory=list)
    checkpoints: FakeCheckpoints = field(default_factory=FakeCheckpoints)
    # The checkpoints that Flink has not deleted yet.
    kept: list[Snapshot] = field(default_factory=list)
    # The parallelism that each vertex asks for: lowest and highest.
    wanted: dict[str, tuple[int, int]] = field(default_factory=dict)
    # False: each of them fails.
    completes_checkpoints: bool = True
    crash: Crash | None = None
    metrics: dict[str, Metric] = field(default_factory=dict)
    # By the vertex's name, then the metric's.
    vertex_metrics: dict[str, dict[str, Metric]] = field(default_factory=dict)
    # By the vertex's name: the share of time that it waits for those after it.
    backpressure: dict[str, Metric] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in ENDED

    @property
    def runs(self) -> bool:
        """Whether all of its tasks run."""
        return self.state == "RUNNING" and self.tasks == "RUNNING"

    @property
    def parallelism(self) -> int:
        """How many slots it needs."""
        return max(vertex.parallelism for vertex in self.vertices)

    def vertex(self, vertex_id: str) -> FakeVertex | None:
        """Return a vertex by its id."""
        return next((one for one in self.vertices if one.id == vertex_id), None)

    def readings(self, metric: Metric) -> list[Value]:
        """Return a metric's values now."""
        found = metric(self) if callable(metric) else metric
        return [found] if isinstance(found, str | int | float) else list(found)

    def entry(self, now: float) -> dict[str, Any]:
        """Return its line in the list of all jobs."""
        shown = [] if self.state == "INITIALIZING" else self.vertices
        count = sum(vertex.parallelism for vertex in shown)
        return {
            "jid": self.id, "name": self.name, **self._times(now), "state": self.state,
            "last-modification": _ms(max(self.changed.values(), default=now)),
            "tasks": {"total": count, **{
                state.lower(): count if state == self.tasks else 0 for state in _TASK_STATES
            }},
            "pending-operators": 0,
        }

    def details(self, now: float) -> dict[str, Any]:
        """Return what is shown of it and its vertices. While it initializes there are none."""
        shown = [] if self.state == "INITIALIZING" else self.vertices
        return {
            "jid": self.id, "name": self.name, "isStoppable": False, "state": self.state,
            "job-type": "STREAMING", **self._times(now), "maxParallelism": -1, "now": _ms(now),
            "timestamps": {state: _ms(self.changed.get(state, 0)) for state in _JOB_STATES},
            "vertices": [self._vertex(vertex, now) for vertex in shown],
            "status-counts": {
                state: len(shown) if state == self.tasks else 0 for state in _TASK_STATES
            },
            "plan": {"jid": self.id, "name": self.name, "type": "STREAMING", "nodes": []},
            "pending-operators": 0,
        }

    def config(self) -> dict[str, Any]:
        """Return what it was told at its start; unknown while it initializes."""
        early = self.state == "INITIALIZING" or not self.vertices
        return {
            "jid": self.id, "name": self.name, "execution-config": {
                "restart-strategy": "Cluster level default restart strategy",
                "job-parallelism": 1 if early else self.parallelism,
                "object-reuse-mode": False,
                "user-config": {} if early else dict(self.user_config),
            },
        }

    def history(self) -> dict[str, Any]:
        """Return its exceptions, the newest first."""
        entries: list[dict[str, Any]] = [
            {
                "exceptionName": one.stack.partition(":")[0], "stacktrace": one.stack,
                "timestamp": _ms(one.at), "failureLabels": {}, "taskName": one.task,
                "endpoint": one.task and "127.0.0.1:6122", "taskManagerId": one.task and "worker",
                "concurrentExceptions": [],
            }
            for one in reversed(self.exceptions)
        ]
        return {"exceptionHistory": {"entries": entries, "truncated": False}}

    def _times(self, now: float) -> dict[str, int]:
        end = now if self.ended is None else self.ended
        return {
            "start-time": _ms(self.started), "end-time": -1 if self.ended is None else _ms(end),
            "duration": _ms(end) - _ms(self.started),
        }

    def _vertex(self, vertex: FakeVertex, now: float) -> dict[str, Any]:
        return {
            "id": vertex.id, "slotSharingGroupId": self.id, "name": vertex.name,
            "maxParallelism": vertex.max_parallelism, "parallelism": vertex.parallelism,
            "status": self.tasks, **self._times(now),
            "tasks": {
                state: vertex.parallelism if state == self.tasks else 0 for state in _TASK_STATES
            },
            "metrics": {"read-records": 0, "read-records-complete": True},
        }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
