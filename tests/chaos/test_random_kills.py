"""Servers killed -9 at random moments while a stateful job counts: nothing lost or doubled."""

import random
import threading
import time
from collections import Counter

import pytest

from tests.kit import flink
from tests.kit.kafka import make_topic, read_committed, send
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

ROUNDS = 12
KEYS = 11
VICTIMS = ("jobmanager", "taskmanager-1", "taskmanager-2", "taskmanager-3", "zookeeper", "kafka")
# Any round can be repeated: its seed is printed with a failure.
SEED = 20261121


class Load:
    """Sends numbered messages until it is told to stop."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap, self._topic = bootstrap, topic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def _run(self) -> None:
        while not self._stop.is_set():
            batch = [b"key-%d" % (number % KEYS) for number in range(self.sent, self.sent + 200)]
            # An idempotent producer waits while the broker is away and sends each once.
            send(self._bootstrap, self._topic, batch)
            self.sent += len(batch)
            time.sleep(0.2)

    def __enter__(self) -> "Load":
        """Begin to send."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sending."""
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("seed", [SEED])
def test_random_kills_under_load(stack: TestStack, seed: int) -> None:
    chance = random.Random(seed)
    bootstrap = stack.settings().kafka_bootstrap
    make_topic(bootstrap, "numbers")
    make_topic(bootstrap, "answers")
    job = flink.submit(stack, "counting", bootstrap, "numbers", "answers",
                       flink.connector_jar(stack))
    wait_until("running", lambda: flink.is_running(stack, job), 120)
    with Load(bootstrap, "numbers") as load:
        for number in range(ROUNDS):
            time.sleep(chance.uniform(1, 8))
            victims = chance.sample(VICTIMS, chance.choice((1, 1, 1, 2)))
            print(f"round {number}: {victims} after {load.sent} messages")
            for victim in victims:
                stack.kill(victim)
            time.sleep(chance.uniform(0, 3))
            stack.ok("stack", "up")
            wait_until("running again", lambda: flink.is_running(stack, job), 180)
    answers = Counter(read_committed(bootstrap, "answers", load.sent, seconds=180))
    expected = {
        b"key-%d:%d" % (key, count)
        for key in range(KEYS)
        for count in range(1, len(range(key, load.sent, KEYS)) + 1)
    }
    assert set(answers) == expected
    assert max(answers.values()) == 1
    flink.cancel(stack, job)
