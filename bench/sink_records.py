"""A million canonical records in a moment: few are made, the others are copies with new ids."""

import time
from collections.abc import Iterator, Sequence
from uuid import uuid4

from confluent_kafka import Producer

from tests.kit.outcome import CLEAN
from tests.kit.sinks import CleanMaker
from tests.kit.stack import TestStack

# Five bytes of header, one of length, then the id: in raw and in canonical records alike.
_ID = slice(6, 42)
_TEMPLATES = 20_000
_LOOK_SECONDS = 0.02


def with_new_id(message: bytes) -> bytes:
    """Return the same event under another id."""
    return b"%s%s%s" % (message[:_ID.start], str(uuid4()).encode(), message[_ID.stop:])


def fill_clean(stack: TestStack, count: int) -> None:
    """Send canonical records to events.clean, keyed as ingest keys them."""
    templates = [
        (str(record.fields["tenant_id"]).encode(), record.value)
        for record in CleanMaker(stack).make(min(count, _TEMPLATES), seed=1)
    ]
    producer = _producer(stack)
    for number in range(count):
        key, value = templates[number % len(templates)]
        _send(producer, CLEAN, with_new_id(value), key)
    producer.flush()


def replay(
    stack: TestStack, topic: str, templates: Sequence[tuple[bytes, bytes]], rate: int,
    seconds: float,
) -> int:
    """Send copies of raw events at a rate, with little CPU; return how many were sent."""
    producer = _producer(stack)
    begun = time.monotonic()
    sent = 0
    for now in _ticks(begun, seconds):
        due = int((now - begun) * rate)
        while sent < due:
            key, value = templates[sent % len(templates)]
            _send(producer, topic, with_new_id(value), key)
            sent += 1
    producer.flush()
    return sent


def _ticks(begun: float, seconds: float) -> Iterator[float]:
    while (now := time.monotonic()) - begun < seconds:
        yield now
        time.sleep(_LOOK_SECONDS / 4)


def _producer(stack: TestStack) -> Producer:
    return Producer({
        "bootstrap.servers": stack.settings().kafka_bootstrap, "linger.ms": 2, "acks": "all",
        "compression.type": "lz4", "queue.buffering.max.messages": 200_000,
    })


def _send(producer: Producer, topic: str, value: bytes, key: bytes) -> None:
    while True:
        try:
            producer.produce(topic, value, key)
        except BufferError:
            producer.poll(0.05)
        else:
            producer.poll(0)
            return
