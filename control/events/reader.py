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
# The end of a window that never comes: it lies in a transaction that is still open.
_STALLED_SECONDS = 3.0
# Whoever must see everything waits for longer, and is told if it does not come.
_MISSING_SECONDS = 30.0

# In each partition the first offset, and the one after the last.
Spans = dict[int, tuple[int, int]]


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
    """Reads committed messages, as part of no group: nobody's position moves."""

    def __init__(self, consumer: KafkaConsumer, bootstrap: str) -> None:
        self._consumer = consumer
        self._bootstrap = bootstrap

    def follow(self, topic: str, *, from_start: bool, to_end: bool = False) -> Iterator[Record]:
        """Yield a topic's messages as they come; with `to_end` only those that are there now."""
        partitions = self._partitions(topic)
        self._consumer.assign(partitions)
        ends = self._consumer.end_offsets(partitions)
        for partition in partitions:
            if from_start:
                self._consumer.seek_to_beginning(partition)
            else:
                self._consumer.seek(partition, ends[partition])
        if to_end:
            yield from self._until(ends)
            return
        while True:
            yield from self._poll()

    def search(
        self, topic: str, limit: int, wanted: Callable[[Record], bool],
        progress: Callable[[int], None] = lambda _: None,
    ) -> Record | None:
        """Return a topic's newest wanted message among the last `limit`, reading backwards."""
        partitions = self._partitions(topic)
        starts = self._consumer.beginning_offsets(partitions)
        ends = self._consumer.end_offsets(partitions)
        seen = 0
        while seen < limit:
            left = [part for part in partitions if ends[part] > starts[part]]
            if not left:
                return None
            # The limit is one for the topic: its partitions share it.
            size = max(1, min(_WINDOW, (limit - seen) // len(left)))
            firsts = {part: max(starts[part], ends[part] - size) for part in left}
            self._consumer.assign(left)
            self._consumer.resume(*left)
            for part, first in firsts.items():
                self._consumer.seek(part, first)
            found = [record for record in self._until({part: ends[part] for part in left})
                     if wanted(record)]
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
        starts = self._consumer.beginning_offsets(partitions)
        ends = self._consumer.end_offsets(partitions)
        firsts = starts if since is None else self._at(partitions, since, ends)
        lasts = ends if until is None else self._at(partitions, until, ends)
        return {part.partition: (firsts[part], lasts[part]) for part in partitions}

    def between(self, topic: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        """Yield every committed message of these offsets, or raise when some cannot be read."""
        ends = {TopicPartition(topic, number): end for number, (first, end) in spans.items()
                if end > first}
        if not ends:
            return
        self._consumer.assign(list(ends))
        self._consumer.resume(*ends)
        for part in ends:
            self._consumer.seek(part, spans[part.partition][0])
        yield from self._until(ends, whole=True)

    def _at(
        self, partitions: list[TopicPartition], moment: int, ends: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        found = self._consumer.offsets_for_times(dict.fromkeys(partitions, moment))
        return {part: ends[part] if (at := found.get(part)) is None else min(at.offset, ends[part])
                for part in partitions}

    def _until(
        self, ends: dict[TopicPartition, int], *, whole: bool = False
    ) -> Iterator[Record]:
        patience = _MISSING_SECONDS if whole else _STALLED_SECONDS
        moved = time.monotonic()
        left, before = dict(ends), -1
        while left:
            for record in self._poll():
                if record.offset < ends[TopicPartition(record.topic, record.partition)]:
                    yield record
            positions = {part: self._consumer.position(part) or 0 for part in left}
            done = [part for part, position in positions.items() if position >= left[part]]
            if done:
                self._consumer.pause(*done)
                left = {part: end for part, end in left.items() if part not in done}
            if done or sum(positions.values()) != before:
                before, moved = sum(positions.values()), time.monotonic()
            elif time.monotonic() - moved > patience:
                if whole:
                    raise _unread(positions, left)
                return

    def _poll(self) -> Iterator[Record]:
        for records in self._consumer.poll(timeout_ms=_POLL_MS).values():
            for found in records:
                yield Record(
                    found.topic, found.partition, found.offset, found.timestamp, found.key,
                    found.value,
                )

    def _partitions(self, topic: str) -> list[TopicPartition]:
        # Asked for by its name, a topic that is missing would be made by some brokers.
        numbers = self._consumer.partitions_for_topic(topic) if (
            topic in self._consumer.topics()
        ) else None
        if not numbers:
            message = f"Kafka at {self._bootstrap} has no topic {topic!r}."
            raise MisuseError(message, "`sluice stack up` makes the product's topics.")
        return [TopicPartition(topic, number) for number in sorted(numbers)]


@contextmanager
def open_reader(bootstrap: str) -> Iterator[Reader]:
    """Open a reader; what Kafka does not do becomes an error for a person."""
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, client_id="sluice-read", group_id=None,
            enable_auto_commit=False, isolation_level="read_committed",
            auto_offset_reset="earliest", bootstrap_timeout_ms=_CONNECT_MS,
            max_poll_records=_WINDOW,
        )
    except (KafkaError, OSError) as error:
        raise _error(bootstrap, error) from error
    try:
        yield Reader(consumer, bootstrap)
    except KafkaError as error:
        raise _error(bootstrap, error) from error
    finally:
        consumer.close()


def _unread(
    positions: dict[TopicPartition, int], ends: dict[TopicPartition, int]
) -> TimedOutError:
    part, position = next(iter(positions.items()))
    message = (
        f"{part.topic}, partition {part.partition}, cannot be read beyond offset {position:,}"
        f" of {ends[part]:,}: a transaction is still open there."
    )
    return TimedOutError(message, "Try again later: the broker ends what its producer forgot.")


def _error(bootstrap: str, error: Exception) -> SluiceError:
    message = f"Kafka at {bootstrap} cannot be read: {error or type(error).__name__}"
    return SluiceError(message, "Is it up? `sluice stack status` tells.")
