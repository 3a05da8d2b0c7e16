"""What the fake's jobs ask for in slots; only its adaptive scheduler lets that be changed."""

from collections.abc import Mapping
from typing import Any

from tests.kit import fake_flink_words as words
from tests.kit.fake_flink_job import FakeJob

_UNSUPPORTED = (
    "java.lang.UnsupportedOperationException: The DefaultScheduler does not support changing the"
    " parallelism without a job restart. This feature is currently only expected to work with the"
    " AdaptiveScheduler."
)


def show_requirements(job: FakeJob, *, adaptive: bool) -> dict[str, Any]:
    """Return what each vertex asks for."""
    _require_adaptive(adaptive)
    return {
        vertex: {"parallelism": {"lowerBound": lowest, "upperBound": highest}}
        for vertex, (lowest, highest) in job.wanted.items()
    }


def read_requirements(
    job: FakeJob, body: Mapping[str, Any], *, adaptive: bool
) -> dict[str, tuple[int, int]]:
    """Return what is asked for from now on, or refuse it as Flink does."""
    if not body:
        raise words.refusal(400, "Request body does not specify resource requirements.")
    wanted = {
        vertex: (int(entry["parallelism"]["lowerBound"]), int(entry["parallelism"]["upperBound"]))
        for vertex, entry in body.items()
    }
    problems = [
        problem for vertex, bounds in wanted.items() for problem in _problems(job, vertex, *bounds)
    ]
    problems += [
        f"The request is incomplete, missing job vertex [{vertex}] resource requirements."
        for vertex in job.wanted if vertex not in wanted
    ]
    if problems:
        raise words.refusal(400, "\n".join(problems))
    _require_adaptive(adaptive)
    return wanted


def _problems(job: FakeJob, vertex: str, lowest: int, highest: int) -> list[str]:
    known = job.vertex(vertex)
    if known is None:
        return [f"Job vertex [{vertex}] was not found in the JobGraph."]
    if lowest < 1 or highest < 1:
        return [f"Both, the requested lower bound [{lowest}] and upper bound [{highest}] for job"
                f" vertex [{vertex}] must be greater than zero."]
    if lowest > highest:
        return [f"The requested lower bound [{lowest}] for job vertex [{vertex}] is higher than"
                f" the upper bound [{highest}]."]
    if highest > known.max_parallelism:
        return [f"The newly requested parallelism {highest} for the job vertex {vertex} exceeds"
                f" its maximum parallelism {known.max_parallelism}."]
    return []


def _require_adaptive(adaptive: bool) -> None:
    if not adaptive:
        raise words.broken(_UNSUPPORTED)
