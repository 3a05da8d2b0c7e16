"""The job `ingest` on a test's stack, and events for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control.flink import FlinkClient
from control.kafka import count_messages
from tests.kit import flink
from tests.kit.outcome import Manifest
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

# More than two checkpoints of the local stack; their markers count only where there was data.
_QUIET_SECONDS = 6

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
        _let_it_catch_up(stack)
        yield job_id(stack)
    finally:
        cancel_ingest(stack)


def _let_it_catch_up(stack: TestStack) -> None:
    """Wait until what other tests have sent is through: a fresh start reads some of it again."""
    def ends() -> int:
        counts = count_messages(stack.settings().kafka_bootstrap, ["events.clean", "events.dlq"])
        return sum(counts.values())

    job = job_id(stack)
    before = flink.completed_checkpoints(stack, job)
    wait_until(
        "two checkpoints", lambda: flink.completed_checkpoints(stack, job) > before + 1, 120
    )
    seen = [ends()]

    def quiet() -> bool:
        seen.append(ends())
        return len(seen) > _QUIET_SECONDS and len(set(seen[-_QUIET_SECONDS:])) == 1

    wait_until("nothing more of before", quiet, 180, pause=1)


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
