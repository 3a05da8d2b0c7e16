"""From the broker's taking a raw event to its being readable in events.clean."""

import threading
import time
from typing import Any

from confluent_kafka import Consumer

from bench.ingest_records import received_at
from bench.kit import percentiles
from tests.kit.ingest import running_ingest
from tests.kit.stack import TestStack

_WARM_UP_SECONDS = 15


class Reader:
    """Reads events.clean from now on and notes how old each event is when it can be read."""

    def __init__(self, bootstrap: str, isolation: str) -> None:
        self._consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": f"latency-{isolation}-{time.time()}",
            "isolation.level": isolation, "auto.offset.reset": "latest",
            "fetch.wait.max.ms": 5, "enable.auto.commit": False,
        })
        self._consumer.subscribe(["events.clean"])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._from = time.monotonic() + _WARM_UP_SECONDS
        self.ages: list[float] = []

    def __enter__(self) -> "Reader":
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            messages = self._consumer.consume(1000, timeout=0.002)
            now = time.time()
            if time.monotonic() < self._from:
                continue
            self.ages += [now * 1000 - received_at(message.value()) / 1000 for message in messages]


def measure_latency(stack: TestStack, rate: int, seconds: int) -> dict[str, Any]:
    """Return percentiles in milliseconds, for readers of uncommitted and of committed data."""
    bootstrap = stack.settings().kafka_bootstrap
    with (
        running_ingest(stack), Reader(bootstrap, "read_uncommitted") as early,
        Reader(bootstrap, "read_committed") as late,
    ):
        stack.ok("events", "produce", "--rate", str(rate), "--duration",
                 str(seconds + _WARM_UP_SECONDS))
        time.sleep(5)
    return {"uncommitted": percentiles(early.ages), "committed": percentiles(late.ages)}
