"""The job `ingest` on a test's stack, and events for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control.flink import FlinkClient
from tests.kit import flink
from tests.kit.outcome import Manifest
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

FLAWS = ("--duplicates", "0.05", "--late", "0.02", "--invalid", "0.02", "--poison", "0.01")


def job_id(stack: TestStack) -> str:
    """Return the id of the job that is there."""
    with FlinkClient(stack.settings().flink_url) as client:
        live = client.live_job("ingest")
    assert live is not None, "ingest is not there"
    return live.id


@contextmanager
def running_ingest(stack: TestStack, **settings: str) -> Iterator[str]:
    """Deploy ingest, yield its id, end whatever runs under its name at the end."""
    stack.ok("deploy", "ingest", **settings)
    try:
        yield job_id(stack)
    finally:
        cancel_ingest(stack)


def cancel_ingest(stack: TestStack) -> None:
    """End the job, if it is there; the next one begins where it stopped."""
    with FlinkClient(stack.settings().flink_url) as client:
        live = client.live_job("ingest")
    if live is None:
        return
    if flink.is_running(stack, live.id):
        # Only a clean stop is sure to write the group's offsets down.
        flink.stop_with_savepoint(stack, live.id)
    else:
        flink.cancel(stack, live.id)


def produce(stack: TestStack, file: Path, count: int, *options: str, seed: int = 1) -> Manifest:
    """Send made-up events; return their manifest."""
    stack.ok("events", "produce", "--count", str(count), "--seed", str(seed),
             "--manifest", str(file), *options)
    return Manifest.read(file)


def restarts(stack: TestStack, job: str) -> int:
    """Return how often a job was restarted since the JobManager knows it."""
    known = wait_until("restarts known", lambda: flink.job_metric(stack, job, "numRestarts"))
    return int(known)
