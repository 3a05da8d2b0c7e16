"""The loop that a good engineer writes in a day: decode, validate, deduplicate, produce.

confluent-kafka and fastavro, one thread, ids remembered in a set, Kafka transactions that carry
the offsets. It enriches nothing, keeps no state over a restart and writes no dead letters beyond
the bytes; what it does, it does with the same rules.
"""

import io
import json
import sys
import time
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer

COMMIT_SECONDS = 2.0
BATCH = 1000


class Schemas:
    """Parsed writer schemas by id."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._known: dict[int, Any] = {}

    def get(self, number: int) -> Any:
        """Return a parsed schema."""
        if number not in self._known:
            with urllib.request.urlopen(f"{self._url}/schemas/ids/{number}") as answer:  # noqa: S310
                self._known[number] = fastavro.parse_schema(json.loads(json.load(answer)["schema"]))
        return self._known[number]


def validate(event: dict[str, Any], now: datetime) -> bool:
    """Say whether an event keeps the rules."""
    return bool(
        event["tenant_id"] and event["entity_id"] and event["source"]
        and isinstance(event["event_id"], uuid.UUID)
        and isinstance(event["correlation_id"], uuid.UUID)
        and now - timedelta(days=365) <= event["occurred_at"] <= now + timedelta(hours=1)
        and event.get("amount", Decimal(0)) >= 0
    )


def clean(event: dict[str, Any], domain: str, now: datetime) -> dict[str, Any]:
    """Return the canonical record."""
    columns = {
        "event_id", "event_type", "occurred_at", "tenant_id", "entity_id", "correlation_id",
        "causation_id", "source", "trace_context", "user_id", "amount", "currency", "status",
        "severity", "service", "duration_ms", "country",
    }
    record = {key: value for key, value in event.items() if key in columns}
    record["domain"] = domain
    record["schema_version"] = 1
    record["received_at"] = record["cleaned_at"] = now
    record["is_error"] = event.get("status") == "FAILED" or event.get("severity") == "ERROR"
    record["text"] = event.get("message") or event.get("merchant_name") or event.get("comment")
    record["attributes"] = {
        key: str(value) for key, value in event.items() if key not in columns and value is not None
    }
    return record


def run(bootstrap: str, url: str, source: str, target: str, count: int, clean_file: str) -> None:
    """Work until `count` messages are through, then say how long it took."""
    schemas = Schemas(url)
    with open(clean_file, encoding="utf-8") as file:  # noqa: PTH123
        clean_schema = fastavro.parse_schema(json.load(file))
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": f"loop-{target}", "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "isolation.level": "read_committed",
    })
    consumer.subscribe([source])
    producer = Producer({
        "bootstrap.servers": bootstrap, "transactional.id": f"loop-{target}-{uuid.uuid4()}",
        "linger.ms": 5, "compression.type": "lz4", "queue.buffering.max.messages": 500_000,
    })
    producer.init_transactions()
    producer.begin_transaction()
    seen: set[uuid.UUID] = set()
    taken, begun, cpu = 0, 0.0, 0.0
    committed = time.monotonic()
    while taken < count:
        messages = consumer.consume(BATCH, timeout=0.5)
        if messages and not begun:
            begun, cpu = time.monotonic(), time.process_time()
        for message in messages:
            taken += 1
            value = message.value()
            try:
                stream = io.BytesIO(value)
                stream.seek(5)
                schema = schemas.get(int.from_bytes(value[1:5], "big"))
                event = fastavro.schemaless_reader(stream, schema, None)
                now = datetime.now(UTC)
                sound = validate(event, now)
            except Exception:  # noqa: BLE001 - as such loops are
                sound = False
            if not sound:
                producer.produce(f"{target}-dlq", value)
                continue
            if event["event_id"] in seen:
                continue
            seen.add(event["event_id"])
            out = io.BytesIO()
            out.write(b"\x00\x00\x00\x00\x01")
            domain = event["event_type"].partition(".")[0]
            fastavro.schemaless_writer(out, clean_schema, clean(event, domain, now))
            producer.produce(target, out.getvalue(), key=event["tenant_id"])
            producer.poll(0)
        if time.monotonic() - committed > COMMIT_SECONDS or taken >= count:
            positions = consumer.position(consumer.assignment())
            offsets = [part for part in positions if part.offset >= 0]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
            producer.begin_transaction()
            committed = time.monotonic()
    seconds, used = time.monotonic() - begun, time.process_time() - cpu
    producer.abort_transaction()
    consumer.close()
    sys.stdout.write(json.dumps({"events": taken, "seconds": seconds, "cpu_seconds": used}) + "\n")


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), sys.argv[6])
