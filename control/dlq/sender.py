"""Replays into events.raw, in Kafka transactions that only one process can have open."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from control.dlq.letter import Letter
from control.errors import MisuseError, SluiceError
from control.registry import RegistryClient
from control.settings import Settings
from udfs.contract import full_name, load_contract
from udfs.record_writer import compile_writer
from udfs.wire import frame

TOPIC = "events.raw"

# Fixed: whoever begins with this id ends what another process left open, and locks it out.
_TRANSACTIONAL_ID = "sluice-dlq-replay"
# A broker that is back within this time costs nothing but the time.
_DELIVERY_SECONDS = 60
_CONNECT_SECONDS = 10
# As events.raw allows, less what Kafka puts around a record.
LARGEST = 10 * 2**20 - 1024


class ReplayWriter:
    """Writes replays as Kafka's bytes."""

    def __init__(self, settings: Settings, registry: RegistryClient) -> None:
        schema = load_contract(settings.schemas).replay
        self._header = frame(registry.register(full_name(schema), schema), b"")
        self._write = compile_writer(schema)

    def write(self, letter: Letter, payload: bytes) -> bytes:
        """Return the message that brings a letter's payload through ingest once more."""
        return self._header + self._write({
            "letter": str(letter.id), "attempt": letter.attempt + 1, "payload": payload,
        })


def replay_headers(settings: Settings, registry: RegistryClient) -> tuple[bytes, ...]:
    """Return how replays begin, written by whatever version of their record."""
    subject = full_name(load_contract(settings.schemas).replay)
    return tuple(
        frame(registry.version(subject, number).id, b"") for number in registry.versions(subject)
    )


class ReplaySender:
    """Sends batches, each of which arrives whole or not at all."""

    def __init__(self, producer: KafkaProducer, consumer: KafkaConsumer) -> None:
        self._producer = producer
        self._consumer = consumer

    def take_over(self) -> None:
        """End what a dead process left open, and lock a hanging one out."""
        self._producer.init_transactions()

    def ends(self) -> dict[int, int]:
        """Return where events.raw ends now, whatever is open or committed there."""
        partitions = [
            TopicPartition(TOPIC, number)
            for number in sorted(self._consumer.partitions_for_topic(TOPIC) or ())
        ]
        if not partitions:
            message = f"Kafka has no topic {TOPIC}."
            raise MisuseError(message, "`sluice stack up` makes the product's topics.")
        ends = self._consumer.end_offsets(partitions)
        return {part.partition: ends[part] for part in partitions}

    def begin(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Open a transaction and bring keys and values into it; all are acknowledged then."""
        self._producer.begin_transaction()
        waiting = [
            self._producer.send(TOPIC, key=key, value=value) for key, value in messages
        ]
        self._producer.flush(timeout=_DELIVERY_SECONDS + 15)
        for answer in waiting:
            answer.get(timeout=_DELIVERY_SECONDS + 15)

    def commit(self) -> None:
        """Make the batch visible to all."""
        _within(_DELIVERY_SECONDS, self._producer.commit_transaction)

    def give_up(self) -> None:
        """Try to end the transaction; if that fails, the next take-over does it."""
        with suppress(KafkaError):
            _within(5, self._producer.abort_transaction)


@contextmanager
def open_replay_sender(bootstrap: str) -> Iterator[ReplaySender]:
    """Open a sender; what Kafka does not do becomes an error for a person."""
    producer = consumer = None
    try:
        producer = KafkaProducer(
            bootstrap_servers=bootstrap, client_id="sluice-dlq", acks="all",
            enable_idempotence=True, transactional_id=_TRANSACTIONAL_ID,
            compression_type="lz4", max_request_size=LARGEST + 1024,
            # A dead run's transaction holds readers up for this long if nobody takes it over.
            transaction_timeout_ms=_DELIVERY_SECONDS * 1_000,
            delivery_timeout_ms=_DELIVERY_SECONDS * 1_000,
            max_block_ms=_DELIVERY_SECONDS * 1_000,
            bootstrap_timeout_ms=_CONNECT_SECONDS * 1_000,
        )
        # To see where the topic ends, open transactions included.
        consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, client_id="sluice-dlq-ends", group_id=None,
            isolation_level="read_uncommitted", enable_auto_commit=False,
            bootstrap_timeout_ms=_CONNECT_SECONDS * 1_000,
        )
        yield ReplaySender(producer, consumer)
    except (KafkaError, OSError) as error:
        message = f"Kafka at {bootstrap} does not do as asked: {error or type(error).__name__}"
        raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
    finally:
        if consumer is not None:
            consumer.close()
        if producer is not None:
            producer.close(timeout=5)


def _within(seconds: float, call: Callable[[], None]) -> None:
    """Call something that may wait for ever, and wait only so long."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        # Handed over to the thread that waits.
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        message = f"no answer within {seconds:.0f} s"
        raise KafkaTimeoutError(message)
    if failures:
        raise failures[0]
