"""Messages into Kafka: in order, acknowledged, with bounded memory."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.partitioner.default import murmur2

from control.errors import MisuseError, SluiceError
from control.events.traffic import Message

# kafka-python takes as much as it is given, also when the broker is gone: this bounds it.
_IN_FLIGHT = 10_000
_IN_FLIGHT_BYTES = 32 * 2**20

# A broker that is back within this time costs nothing but the time.
_DELIVERY_SECONDS = 120
_ACK_SECONDS = _DELIVERY_SECONDS + 15
_CONNECT_SECONDS = 10
_REMEMBERED_KEYS = 100_000

# As events.raw allows.
_LARGEST = 10 * 2**20


class Sender:
    """Sends and collects acknowledgements, both in order."""

    def __init__(self, producer: KafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._count = partitions
        self._partitions: dict[bytes, int] = {}
        self._waiting: deque[tuple[Any, int]] = deque()
        self._waiting_bytes = 0
        self.sent = 0
        self.acknowledged = 0

    def send(self, message: Message) -> None:
        """Hand one message over; wait when too many are on their way."""
        value = message.value
        # From here on it may arrive, whatever goes wrong.
        self.sent += 1
        future = self._producer.send(
            self._topic, key=message.key, value=value, partition=self._partition(message.key)
        )
        self._waiting.append((future, len(value)))
        self._waiting_bytes += len(value)
        while len(self._waiting) > _IN_FLIGHT or self._waiting_bytes > _IN_FLIGHT_BYTES:
            self._collect()

    def finish(self) -> None:
        """Wait until everything is acknowledged."""
        self._producer.flush(timeout=_ACK_SECONDS)
        while self._waiting:
            self._collect()

    def _collect(self) -> None:
        future, size = self._waiting[0]
        # Most are acknowledged: asking takes less time than get().
        if not future.succeeded():
            future.get(timeout=_ACK_SECONDS)
        self._waiting.popleft()
        self._waiting_bytes -= size
        self.acknowledged += 1

    def _partition(self, key: bytes) -> int:
        # As every Kafka client does it. In Python the hash takes as long as making the event.
        partition = self._partitions.get(key)
        if partition is None:
            if len(self._partitions) >= _REMEMBERED_KEYS:
                self._partitions.clear()
            partition = self._partitions[key] = (murmur2(key) & 0x7FFFFFFF) % self._count
        return partition


@contextmanager
def open_sender(bootstrap: str, topic: str) -> Iterator[Sender]:
    """Open a sender to one topic; what Kafka does not take becomes an error for a person."""
    try:
        producer = KafkaProducer(
            bootstrap_servers=bootstrap, client_id="sluice-produce", acks="all",
            enable_idempotence=True, linger_ms=20, batch_size=256 * 1024, compression_type="lz4",
            max_request_size=_LARGEST, delivery_timeout_ms=_DELIVERY_SECONDS * 1_000,
            max_block_ms=_CONNECT_SECONDS * 1_000, bootstrap_timeout_ms=_CONNECT_SECONDS * 1_000,
        )
    except (KafkaError, OSError) as error:
        message = f"Kafka at {bootstrap} does not answer: {error}"
        raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
    try:
        sender = Sender(producer, topic, _partitions(producer, bootstrap, topic))
        try:
            yield sender
        except KafkaError as error:
            message = (
                f"Kafka stopped taking messages: {error or type(error).__name__}."
                f" {sender.acknowledged:,} are acknowledged,"
                f" {sender.sent - sender.acknowledged:,} more may or may not have arrived."
            )
            raise SluiceError(message, "Run the command again when it is back.") from error
    finally:
        producer.close(timeout=5)


def _partitions(producer: KafkaProducer, bootstrap: str, topic: str) -> int:
    try:
        return len(producer.partitions_for(topic))
    except (KafkaError, ValueError) as error:
        message = f"Kafka at {bootstrap} has no topic {topic}: {error or type(error).__name__}"
        raise MisuseError(message, "`sluice stack up` makes the product's topics.") from error
