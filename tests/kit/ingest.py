"""The job `ingest` on a test's stack, and events for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control.kafka import count_messages
from tests.kit import flink
from tests.kit.jobs import running_job
from tests.kit.outcome import Manifest
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until, wait_until_steady

# More than two checkpoints of the local stack; their markers count only where there was data.
_QUIET_SECONDS = 6

FLAWS = ("--duplicates", "0.05", "--late", "0.02", "--invalid", "0.02", "--poison", "0.01")


@contextmanager
def running_ingest(stack: TestStack, **settings: str) -> Iterator[str]:
    """Deploy ingest, yield its id, end whatever runs under its name at the end."""
    with running_job(stack, "ingest", **settings) as job:
        let_it_catch_up(stack, job)
        yield job


def let_it_catch_up(stack: TestStack, job: str) -> None:
    """Wait until what other tests have sent is through: a fresh start reads some of it again."""
    def ends() -> int:
        counts = count_messages(stack.settings().kafka_bootstrap, ["events.clean", "events.dlq"])
        return sum(counts.values())

    before = flink.completed_checkpoints(stack, job)
    wait_until(
        "two checkpoints", lambda: flink.completed_checkpoints(stack, job) > before + 1, 120
    )
    wait_until_steady("nothing more of before", ends, _QUIET_SECONDS, 180)


def produce(stack: TestStack, file: Path, count: int, *options: str, seed: int = 1) -> Manifest:
    """Send made-up events; return their manifest."""
    stack.ok("events", "produce", "--count", str(count), "--seed", str(seed),
             "--manifest", str(file), *options)
    return Manifest.read(file)
