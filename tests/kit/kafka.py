"""Write to and read from a stack's topics."""

import time
from collections.abc import Iterable

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from control.kafka import admin_client


def make_topic(bootstrap: str, name: str, partitions: int = 1) -> None:
    """Make a topic for a test."""
    with admin_client(bootstrap) as admin:
        admin.create_topics([NewTopic(
            name, num_partitions=partitions, replication_factor=1,
            # When the broker took it: Flink's sink writes the time of what it was made from.
            topic_configs={"message.timestamp.type": "LogAppendTime"},
        )])


def send(bootstrap: str, topic: str, values: Iterable[bytes]) -> None:
    """Send values and wait until all are acknowledged."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True,
        delivery_timeout_ms=120_000,
    )
    try:
        for answer in [producer.send(topic, value=value) for value in values]:
            answer.get(timeout=130)
    finally:
        producer.close(timeout=10)


def read_committed(bootstrap: str, topic: str, count: int, seconds: float = 90) -> list[bytes]:
    """Read a topic from its start until `count` values are there, then a moment longer."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest",
        isolation_level="read_committed", enable_auto_commit=False, group_id=None,
    )
    values: list[bytes] = []
    deadline = time.monotonic() + seconds
    grace = None
    try:
        while time.monotonic() < (grace or deadline):
            for records in consumer.poll(timeout_ms=500).values():
                values += [record.value for record in records]
            if grace is None and len(values) >= count:
                # One more, doubled, would come within the next checkpoints.
                grace = time.monotonic() + 5
    finally:
        consumer.close()
    return values
