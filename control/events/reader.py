"""Read topics for a person: follow them, or search them backwards."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from control.errors import MisuseError, SluiceError, TimedOutError

_CONNECT_MS = 10_000
_POLL_MS = 500

# Read together in each partition when searching backwards.
_WINDOW = 5_000
# The ends that Kafka names lie before any open transaction, so what lies before them comes. When
# nothing does for so long, that is an error: "not found" would be a guess.
_PATIENCE_SECONDS = 30.0

# In each partition the first offset, and the one after the last.
Spans = dict[int, tuple[int, int]]
_Offsets = Mapping[TopicPartition, int]


@dataclass(frozen=True)
class Record:
    """One message where it lies."""

    topic: str
    partition: int
    offset: int
    # When the broker took it, in milliseconds since 1970.
    timestamp: int
    key: bytes | None
    value: bytes | None


class Reader:
    """Reads messages as part of no group: nobody's position moves."""

    def __init__(self, bootstrap: str, *, committed_only: bool = True) -> None:
        self._bootstrap = bootstrap
        self._isolation = "read_committed" if committed_only else "read_uncommitted"
        # For questions. It never reads: kafka-python 3.0 keeps what was fetched for an earlier
        # assignment or position, and may then fetch no more, so each read has one of its own.
        self._asking = _consumer(bootstrap, self._isolation)

    def close(self) -> None:
        """Leave Kafka."""
        self._asking.close()

    def follow(
        self, topic: str, *, from_start: bool, to_end: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Record]:
        """Yield a topic's messages as they come; with `to_end` only those that are there now."""
        partitions = self._partitions(topic)
        ends = self._asking.end_offsets(partitions)
        firsts = self._asking.beginning_offsets(partitions) if from_start else ends
        if to_end:
            yield from self._between(firsts, ends)
            return
        with self._reading(firsts) as consumer:
            while not stopped():
                yield from _poll(consumer)

    def search(
        self, topic: str, limit: int, wanted: Callable[[Record], bool],
        progress: Callable[[int], None] = lambda _: None,
    ) -> Record | None:
        """Return a topic's newest wanted message among the last `limit`, reading backwards."""
        partitions = self._partitions(topic)
        starts = self._asking.beginning_offsets(partitions)
        ends = self._asking.end_offsets(partitions)
        seen = 0
        while seen < limit:
            left = [part for part in partitions if ends[part] > starts[part]]
            if not left:
                return None
            # The limit is one for the topic: its partitions share it.
            size = max(1, min(_WINDOW, (limit - seen) // len(left)))
            firsts = {part: max(starts[part], ends[part] - size) for part in left}
            found = [record for record in self._between(firsts, ends) if wanted(record)]
            if found:
                return max(found, key=lambda record: record.timestamp)
            seen += sum(ends[part] - first for part, first in firsts.items())
            ends |= firsts
            progress(seen)
        return None

    def spans(
        self, topic: str, since: int | None = None, until: int | None = None
    ) -> Spans:
        """Return where a topic's committed messages lie, or those of a time (ms since 1970)."""
        partitions = self._partitions(topic)
        starts = self._asking.beginning_offsets(partitions)
        ends = self._asking.end_offsets(partitions)
        firsts = starts if since is None else self._at(partitions, since, ends)
        lasts = ends if until is None else self._at(partitions, until, ends)
        return {part.partition: (firsts[part], lasts[part]) for part in partitions}

    def between(self, topic: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        """Yield every committed message of these offsets, or raise when some cannot be read."""
        parts = {number: TopicPartition(topic, number) for number in spans}
        yield from self._between(
            {parts[number]: first for number, (first, _) in spans.items()},
            {parts[number]: end for number, (_, end) in spans.items()},
        )

    def _at(
        self, partitions: list[TopicPartition], moment: int, ends: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        found = self._asking.offsets_for_times(dict.fromkeys(partitions, moment))
        return {part: ends[part] if (at := found.get(part)) is None else min(at.offset, ends[part])
                for part in partitions}

    def _between(self, firsts: _Offsets, ends: _Offsets) -> Iterator[Record]:
        left = {part: ends[part] for part, first in firsts.items() if ends[part] > first}
        if not left:
            return
        with self._reading({part: firsts[part] for part in left}) as consumer:
            moved, before = time.monotonic(), -1
            while left:
                for record in _poll(consumer):
                    if record.offset < ends[TopicPartition(record.topic, record.partition)]:
                        yield record
                positions = {part: consumer.position(part) or 0 for part in left}
                done = [part for part, position in positions.items() if position >= left[part]]
                if done:
                    consumer.pause(*done)
                    left = {part: end for part, end in left.items() if part not in done}
                if done or sum(positions.values()) != before:
                    before, moved = sum(positions.values()), time.monotonic()
                elif time.monotonic() - moved > _PATIENCE_SECONDS:
                    raise _unread(positions, left)

    @contextmanager
    def _reading(self, firsts: _Offsets) -> Iterator[KafkaConsumer]:
        consumer = _consumer(self._bootstrap, self._isolation)
        try:
            consumer.assign(list(firsts))
            for part, first in firsts.items():
                consumer.seek(part, first)
            yield consumer
        finally:
            consumer.close()

    def _partitions(self, topic: str) -> list[TopicPartition]:
        # Asked for by its name, a topic that is missing would be made by some brokers.
        numbers = self._asking.partitions_for_topic(topic) if (
            topic in self._asking.topics()
        ) else None
        if not numbers:
            message = f"Kafka at {self._bootstrap} has no topic {topic!r}."
            raise MisuseError(message, "`sluice stack up` makes the product's topics.")
        return [TopicPartition(topic, number) for number in sorted(numbers)]


@contextmanager
def open_reader(bootstrap: str, *, committed_only: bool = True) -> Iterator[Reader]:
    """Open a reader; what Kafka does not do becomes an error for a person."""
    try:
        reader = Reader(bootstrap, committed_only=committed_only)
    except (KafkaError, OSError) as error:
        raise _error(bootstrap, error) from error
    try:
        yield reader
    except KafkaError as error:
        raise _error(bootstrap, error) from error
    finally:
        reader.close()


def _consumer(bootstrap: str, isolation: str) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=bootstrap, client_id="sluice-read", group_id=None,
        enable_auto_commit=False, isolation_level=isolation,
        auto_offset_reset="earliest", bootstrap_timeout_ms=_CONNECT_MS,
        max_poll_records=_WINDOW,
    )


def _poll(consumer: KafkaConsumer) -> Iterator[Record]:
    for records in consumer.poll(timeout_ms=_POLL_MS).values():
        for found in records:
            yield Record(
                found.topic, found.partition, found.offset, found.timestamp, found.key,
                found.value,
            )


def _unread(
    positions: dict[TopicPartition, int], ends: dict[TopicPartition, int]
) -> TimedOutError:
    part, position = next(iter(positions.items()))
    message = (
        f"{part.topic}, partition {part.partition}, cannot be read beyond offset {position:,}"
        f" of {ends[part]:,}: nothing came for {_PATIENCE_SECONDS:.0f} seconds."
    )
    return TimedOutError(message, "Is Kafka up? `sluice stack status` tells.")


def _error(bootstrap: str, error: Exception) -> SluiceError:
    message = f"Kafka at {bootstrap} cannot be read: {error or type(error).__name__}"
    return SluiceError(message, "Is it up? `sluice stack status` tells.")
