"""How the fake shows what its jobs measure; a job that does not run measures nothing."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tests.kit.fake_flink_job import FakeJob, Metric, Value

_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "min": min, "max": max, "avg": lambda values: sum(values) / len(values), "sum": sum,
    "skew": lambda _: 0.0,
}


def show_job_metrics(job: FakeJob | None, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Return the values that are wanted, as texts; the names of all when none is."""
    if job is None or job.is_over or job.state == "INITIALIZING":
        return []
    metrics: dict[str, Metric] = {
        "numRestarts": job.restarts,
        "numberOfCompletedCheckpoints": job.checkpoints.completed,
        "numberOfFailedCheckpoints": job.checkpoints.failed, **job.metrics,
    }
    if not wanted:
        return [{"id": name} for name in metrics]
    return [{"id": name, "value": str(job.readings(metrics[name])[0])}
            for name in wanted if name in metrics]


def show_vertex_metrics(
    job: FakeJob | None, vertex_id: str, wanted: Sequence[str], kinds: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the values over all subtasks that are wanted; the names of all when none is."""
    vertex = None if job is None or not job.runs else job.vertex(vertex_id)
    if job is None or vertex is None:
        return []
    metrics: dict[str, Metric] = {"numRecordsIn": 0, **job.vertex_metrics.get(vertex.name, {})}
    if not wanted:
        return [{"id": name} for name in metrics]
    shown = []
    for name in wanted:
        numbers = _numbers(job.readings(metrics[name])) if name in metrics else None
        if numbers:
            shown.append({"id": name, **{
                kind: _as_json(_AGGREGATES[kind](numbers)) for kind in kinds or _AGGREGATES
            }})
    return shown


def show_backpressure(job: FakeJob | None, vertex_id: str, now_ms: int) -> dict[str, Any]:
    """Return for what share of time each subtask waits."""
    vertex = None if job is None or not job.runs else job.vertex(vertex_id)
    if job is None or vertex is None:
        return {"status": "deprecated"}
    readings = job.readings(job.backpressure.get(vertex.name, 0.0))
    shares = [float(one) for one in readings] * (vertex.parallelism if len(readings) == 1 else 1)
    tasks = [
        {"subtask": number, "attempt-number": job.restarts, "ratio": _as_json(share),
         "idleRatio": 0.0, "busyRatio": _as_json(1 - share),
         "backpressureLevel": _level(share), "backpressure-level": _level(share)}
        for number, share in enumerate(shares)
    ]
    worst = _level(max(shares))
    return {"status": "ok", "backpressureLevel": worst, "backpressure-level": worst,
            "end-timestamp": now_ms, "subtasks": tasks}


def _numbers(values: list[Value]) -> list[float] | None:
    try:
        return [float(value) for value in values]
    except ValueError:
        # One that is a text spoils the sum, and Flink leaves the metric out.
        return None


def _as_json(number: float) -> float | str:
    """Return a number as Java's JSON has it: one that is none is a text."""
    return number if math.isfinite(number) else str(number).replace("nan", "NaN")


def _level(share: float) -> str:
    return "ok" if not share > 0.1 else "low" if share <= 0.5 else "high"
