"""Dead letters as ingest writes them, and what lands on events.raw when they are replayed."""

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

import fastavro
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from control.registry import RegistryClient
from control.settings import Settings
from tests.kit.stack import TestStack
from udfs.contract import full_name, load_contract
from udfs.letters import Known, LetterWriter, Origin
from udfs.reasons import Reason, RejectedError, Stage
from udfs.wire import frame


@dataclass(frozen=True)
class Written:
    """A letter to be written, and what matters about it."""

    payload: bytes
    reason: Reason = Reason.UNKNOWN_SCHEMA
    stage: Stage = Stage.INGEST
    tenant: str | None = "tenant-0001"
    attempt: int = 1
    replay_of: str | None = None
    detail: str = "the registry has no schema 999"


@dataclass(frozen=True)
class Landed:
    """A replay on events.raw."""

    letter: str
    attempt: int
    payload: bytes
    key: bytes


def write_letters(
    settings: Settings, letters: Iterable[Written], *, commit: bool = True, partition: int = 0
) -> list[str]:
    """Write letters in one Kafka transaction, as ingest does; return their names."""
    schema = load_contract(settings.schemas).dead_letter
    with RegistryClient(settings.registry_url) as registry:
        number = registry.register(full_name(schema), schema)
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, transactional_id="test-letters",
        max_request_size=12 * 2**20,
    )
    contract = load_contract(settings.schemas)
    try:
        producer.init_transactions()
        producer.begin_transaction()
        now = time.time_ns() // 1_000
        waiting = [
            producer.send("events.dlq", value=LetterWriter(contract, number, one.stage).letter(
                one.payload, RejectedError(one.reason, one.detail),
                Origin("events.raw", now - 5_000_000, one.replay_of, one.attempt), now,
                Known(tenant_id=one.tenant),
            ), partition=partition)
            for one in letters
        ]
        producer.flush()
        names = [f"{partition}:{answer.get(timeout=60).offset}" for answer in waiting]
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    finally:
        producer.close()
    return names


def poison(count: int, mark: str) -> list[Written]:
    """Return letters whose payloads name a schema that nobody knows."""
    return [Written(frame(999, f"{mark}-{number}".encode())) for number in range(count)]


def landed(settings: Settings) -> list[Landed]:
    """Return every committed replay on events.raw, in no order."""
    schema = fastavro.parse_schema(load_contract(settings.schemas).replay)
    with RegistryClient(settings.registry_url) as registry:
        number = registry.register("sluice.events.Replay", load_contract(settings.schemas).replay)
    header = frame(number, b"")
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, isolation_level="read_committed",
        auto_offset_reset="earliest", group_id=None, enable_auto_commit=False,
    )
    found = []
    try:
        parts = [TopicPartition("events.raw", part)
                 for part in consumer.partitions_for_topic("events.raw") or ()]
        # With this isolation these are the ends of what is committed.
        ends = {part: end for part, end in consumer.end_offsets(parts).items() if end}
        consumer.assign(list(ends))
        deadline = time.monotonic() + 60
        while any((consumer.position(part) or 0) < end for part, end in ends.items()):
            assert time.monotonic() < deadline, "events.raw cannot be read to its end"
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    if record.value.startswith(header):
                        fields = fastavro.schemaless_reader(
                            BytesIO(record.value[len(header):]), schema, None
                        )
                        found.append(Landed(
                            fields["letter"], fields["attempt"], fields["payload"], record.key
                        ))
    finally:
        consumer.close()
    return found


def states(stack: TestStack, mark: str) -> Counter[str]:
    """Count this test's letters by state."""
    listed = json.loads(stack.ok("dlq", "list", "--tenant", mark, "--state", "all",
                                 "--limit", "5000", "--json"))
    return Counter(entry["state"] for entry in listed)
