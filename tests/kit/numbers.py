"""Numbers sent to a counting job, and what it made of them."""

import sys
import threading
import time
from collections import Counter, defaultdict

from confluent_kafka import Producer

from tests.kit.kafka import make_topic, read_committed
from tests.kit.stack import TestStack


class Numbers:
    """Sends 0, 1, 2, ... at a rate until it is told to stop; then judges the answers."""

    def __init__(self, stack: TestStack, name: str, rate: int = 500) -> None:
        self._bootstrap = stack.settings().kafka_bootstrap
        self._name = name
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0
        self._make_topics()

    def __enter__(self) -> "Numbers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> int:
        """Stop sending; return how many were sent."""
        self._stop.set()
        self._thread.join()
        return self.sent

    def verify(self, seconds: float = 120) -> dict[str, int]:
        """Wait for the last answer; each number came once, and no count was lost or doubled.

        Returns how many answers each version gave.
        """
        sent = self.finish()
        found = [line.split() for line in
                 read_committed(self._bootstrap, f"{self._name}-answers", sent, seconds)]
        assert Counter(int(line[0]) for line in found) == Counter(range(sent))
        counts: dict[str, list[int]] = defaultdict(list)
        for line in found:
            counts[line[1].decode()].append(int(line[2]))
        for key, seen in counts.items():
            assert sorted(seen) == list(range(1, len(seen) + 1)), f"counts of key {key}"
        return dict(Counter(line[3].decode() for line in found))

    def refused(self) -> int:
        """Return how many committed refusals there are."""
        return len(read_committed(self._bootstrap, f"{self._name}-refused", sys.maxsize, 6))

    def _make_topics(self) -> None:
        for part in ("numbers", "answers", "refused"):
            make_topic(self._bootstrap, f"{self._name}-{part}", partitions=2)

    def _send(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 5,
                             "acks": "all", "enable.idempotence": True})
        begun = time.monotonic()
        while not self._stop.is_set():
            due = int((time.monotonic() - begun) * self._rate)
            while self.sent < due:
                producer.produce(f"{self._name}-numbers", str(self.sent).encode(),
                                 partition=self.sent % 2)
                self.sent += 1
                producer.poll(0)
            time.sleep(0.02)
        assert producer.flush(60) == 0
