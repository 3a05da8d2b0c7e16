"""The product's jobs on a test's stack: deployed, found, ended."""

from collections.abc import Iterator
from contextlib import contextmanager

from control.flink import FlinkClient
from jobs.catalogue import JOBS
from tests.kit import flink
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

# How the one step of a sink that writes begins in Flink's own list.
SINK_STEP = "Source: events.clean"


def job_id(stack: TestStack, name: str = "ingest") -> str:
    """Return the id of the job that is there."""
    with FlinkClient(stack.settings().flink_url) as client:
        live = client.live_job(name)
    assert live is not None, f"{name} is not there"
    return live.id


@contextmanager
def running_job(stack: TestStack, name: str, **settings: str) -> Iterator[str]:
    """Deploy a job without state, yield its id, end whatever runs under its name at the end."""
    stack.ok("deploy", name, "--fresh", "--yes", **settings)
    try:
        yield job_id(stack, name)
    finally:
        end_job(stack, name)


def end_job(stack: TestStack, name: str = "ingest") -> None:
    """End the job, if it is there; the next one begins where it stopped."""
    with FlinkClient(stack.settings().flink_url) as client:
        live = client.live_job(name)
    if live is None:
        return
    if flink.is_running(stack, live.id):
        # Only a clean stop is sure to write the group's offsets down.
        flink.stop_with_savepoint(stack, live.id)
    else:
        flink.cancel(stack, live.id)


def end_all_jobs(stack: TestStack) -> None:
    """End every job of the product: what runs on takes part in the next test."""
    for job in JOBS:
        end_job(stack, job.name)


def restarts(stack: TestStack, job: str) -> int:
    """Return how often a job was restarted since the JobManager knows it."""
    known = wait_until("restarts known", lambda: flink.job_metric(stack, job, "numRestarts"))
    return int(known)


def worker_of(stack: TestStack, job: str, step: str) -> str:
    """Return the name of a TaskManager that runs the step whose name begins with this."""
    for vertex in flink.get(stack, f"/jobs/{job}")["vertices"]:
        path = f"/jobs/{job}/vertices/{vertex['id']}/taskmanagers"
        workers = flink.get(stack, path).get("taskmanagers", [])
        if vertex["name"].startswith(step) and workers:
            return str(workers[0]["taskmanager-id"])
    message = f"{step} of job {job} runs nowhere"
    raise AssertionError(message)


def kill_python_worker(stack: TestStack, worker: str) -> None:
    """Kill -9 one of the Python processes of a TaskManager."""
    workers = [process for process in stack.children(worker)
               if any("beam" in part for part in process.cmdline())]
    assert workers, f"{worker} has no Python worker"
    workers[0].kill()
