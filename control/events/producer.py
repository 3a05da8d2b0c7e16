"""Send generated events to Kafka in the registry's wire format, with bounded memory."""

import io
import json
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import fastavro
from kafka import KafkaProducer
from kafka.errors import KafkaError

from control.errors import SluiceError
from control.events.generator import Event
from control.registry import RegistryClient, record_name, schema_files
from control.settings import Settings

TOPIC = "events.raw"

# kafka-python takes as much as it is given, also when the broker is gone: this bounds it.
_IN_FLIGHT = 10_000
_ACK_SECONDS = 60
_REPORT_SECONDS = 0.25
# A wait shorter than this is not worth a system call at high rates.
_PACE_SECONDS = 0.005


@dataclass
class Sent:
    """What was sent so far."""

    count: int = 0
    domains: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Encoder:
    """Turns events into registered bytes: a zero, the schema's id, Avro."""

    def __init__(self, registry: RegistryClient) -> None:
        self._schemas: dict[str, tuple[bytes, Any]] = {}
        for file in schema_files():
            schema = json.loads(file.read_text(encoding="utf-8"))
            number = registry.register(record_name(schema), schema)
            # The newest version of a domain comes last.
            self._schemas[file.parent.name] = (
                struct.pack(">bI", 0, number), fastavro.parse_schema(schema)
            )

    def encode(self, event: Event) -> bytes:
        """Return an event's bytes."""
        header, schema = self._schemas[event.domain]
        out = io.BytesIO()
        out.write(header)
        fastavro.schemaless_writer(out, schema, event.body)
        return out.getvalue()


def produce(
    settings: Settings, events: Iterable[Event], rate: float | None,
    report: Callable[[Sent], None],
) -> Sent:
    """Send events, at most `rate` a second; return once every one is acknowledged."""
    registry = RegistryClient(settings.registry_url)
    try:
        encoder = Encoder(registry)
    finally:
        registry.close()
    sent = Sent()
    try:
        producer = KafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap, client_id="sluice-produce", acks="all",
            enable_idempotence=True, linger_ms=20, batch_size=256 * 1024, compression_type="lz4",
        )
    except (KafkaError, OSError) as error:
        message = f"Kafka at {settings.kafka_bootstrap} does not answer: {error}"
        raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
    try:
        _send_all(producer, encoder, events, rate, sent, report)
    except KafkaError as error:
        message = f"Kafka stopped taking events after {sent.count}: {error}"
        raise SluiceError(message, "Run the command again when it is back.") from error
    finally:
        producer.close(timeout=5)
    return sent


def _send_all(
    producer: KafkaProducer, encoder: Encoder, events: Iterable[Event], rate: float | None,
    sent: Sent, report: Callable[[Sent], None],
) -> None:
    begun = reported = time.monotonic()
    waiting: deque[Any] = deque()
    try:
        for event in events:
            if rate is not None:
                ahead = sent.count / rate - (time.monotonic() - begun)
                if ahead > _PACE_SECONDS:
                    time.sleep(ahead)
            value = encoder.encode(event)
            waiting.append(producer.send(TOPIC, key=event.key.encode(), value=value))
            if len(waiting) > _IN_FLIGHT:
                waiting.popleft().get(timeout=_ACK_SECONDS)
            sent.count += 1
            sent.domains[event.domain] = sent.domains.get(event.domain, 0) + 1
            now = time.monotonic()
            if now - reported > _REPORT_SECONDS:
                reported, sent.seconds = now, now - begun
                report(sent)
    finally:
        # Also after Ctrl-C: what was counted as sent is acknowledged.
        producer.flush(timeout=_ACK_SECONDS)
        while waiting:
            waiting.popleft().get(timeout=_ACK_SECONDS)
        sent.seconds = time.monotonic() - begun
        report(sent)
