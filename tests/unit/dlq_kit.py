"""Dead letters in memory: topics, the book, Kafka's transactions, and crashes at every step."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from control.db.lease import Lease
from control.dlq.book import Book, Unfinished
from control.dlq.letter import Letter, LetterId, State
from control.dlq.rewrite import Rewriter
from control.dlq.sender import ReplaySender, ReplayWriter
from control.dlq.source import Letters
from control.events.decoding import Decoding
from control.events.reader import Reader, Record, Spans
from tests.unit.event_kit import Ids, contract
from udfs.letters import Known, LetterWriter, Origin
from udfs.reasons import Reason, RejectedError, Stage
from udfs.record_writer import compile_writer
from udfs.wire import frame

BEGIN = datetime(2026, 11, 21, 7, tzinfo=UTC)
HELD = Lease("dlq", "token", 30)


class CrashError(Exception):
    """The process is dead; nothing of it runs any more."""


def letter(number: int = 0, **changes: Any) -> Letter:
    """Return a letter."""
    fields: dict[str, Any] = {
        "id": LetterId(0, number), "time": BEGIN + timedelta(seconds=number),
        "reason": "unknown_schema", "detail": "the registry has no schema 999",
        "stage": "ingest", "retriable": True, "attempt": 1, "failed_at": BEGIN,
        "source_topic": "events.raw", "source_time": BEGIN, "schema_id": 999, "event_id": None,
        "tenant_id": "tenant-0001", "correlation_id": None, "replay_of": None, "size": 10,
    }
    return Letter(**{**fields, **changes})


class Topics(Reader):
    """Messages by topic and partition; a place without one is a marker or an aborted message."""

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self.logs: dict[str, list[list[Record | None]]] = {
            topic: [[] for _ in range(count)] for topic, count in partitions.items()
        }
        # What retention has taken from the front of each partition.
        self.gone: dict[tuple[str, int], int] = {}

    def add(self, topic: str, number: int, value: bytes | None, second: float = 0) -> None:
        """Add a message, or None for a place that holds none."""
        log = self.logs[topic][number]
        moment = round((BEGIN.timestamp() + second) * 1_000)
        log.append(None if value is None else Record(topic, number, len(log), moment, None, value))

    def spans(self, topic: str, since: int | None = None, until: int | None = None) -> Spans:
        spans = {}
        for number, log in enumerate(self.logs[topic]):
            def at(moment: int, log: list[Record | None] = log) -> int:
                return next((index for index, record in enumerate(log)
                             if record is not None and record.timestamp >= moment), len(log))
            first = self.gone.get((topic, number), 0) if since is None else at(since)
            spans[number] = first, len(log) if until is None else at(until)
        return spans

    def between(self, topic: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        for number, (first, end) in spans.items():
            log = self.logs[topic][number][first:end] if first < end else []
            yield from (record for record in log if record is not None)


def letters_in(topics: Topics) -> tuple[Letters, Decoding]:
    """Return what reads the letters of these topics."""
    ids = Ids()
    ids.register(contract().dead_letter)
    ids.register(contract().replay)
    decoding = Decoding(ids.schemas.get)
    return Letters(topics, decoding), decoding


def written(
    payload: bytes = b"x", reason: Reason = Reason.UNKNOWN_SCHEMA, attempt: int = 1,
    tenant: str | None = "t1", replay_of: str | None = None, stage: Stage = Stage.INGEST,
) -> bytes:
    """Return a letter's bytes; its schema has the id 1."""
    writer = LetterWriter(contract(), 1, stage)
    return writer.letter(
        payload, RejectedError(reason, "detail"), Origin("events.raw", 0, replay_of, attempt), 0,
        Known(tenant_id=tenant),
    )


class Writer(ReplayWriter):
    """Writes replays with the schema id 2."""

    def __init__(self) -> None:
        self._header = frame(2, b"")
        self._write = compile_writer(contract().replay)


class MemoryBook(Book):
    """Keeps actions in memory; each method is one transaction."""

    def __init__(self) -> None:
        self.rows: dict[LetterId, tuple[str, str, int]] = {}
        self.ends: dict[str, dict[int, int]] = {}
        self.somebody = False

    def states(self, letters: Sequence[Letter]) -> dict[LetterId, State]:
        way = State.REPLAYING if self.somebody else State.UNKNOWN
        names = {"replayed": State.REPLAYED, "discarded": State.DISCARDED, "lost": State.UNKNOWN}
        return {one.id: names.get(self.rows[one.id][0], way) if one.id in self.rows
                else State.OPEN for one in letters}

    def begin(self, command: str, note: str = "") -> str:
        self.ends[f"{command}{len(self.ends)}"] = {}
        return f"{command}{len(self.ends) - 1}"

    def intend(
        self, held: Lease, operation: str, letters: Sequence[Letter], raw_ends: dict[int, int]
    ) -> None:
        self.ends[operation] = raw_ends
        for one in letters:
            assert self.rows.get(one.id, ("open",))[0] not in ("replaying", "replayed")
            self.rows[one.id] = "replaying", operation, one.attempt + 1

    def discard(self, held: Lease, operation: str, letters: Sequence[Letter]) -> None:
        self.rows |= {one.id: ("discarded", operation, 0) for one in letters}

    def note_written(self, held: Lease, operation: str, letters: Sequence[Letter]) -> None:
        self.rows |= {one.id: ("replayed", operation, one.attempt + 1) for one in letters}

    def unfinished(self) -> list[Unfinished]:
        found: dict[str, Unfinished] = {}
        for one, (action, operation, attempt) in self.rows.items():
            if action == "replaying":
                batch = Unfinished(operation, self.ends[operation], {})
                found.setdefault(operation, batch).letters[one] = attempt
        return list(found.values())

    def settle(self, held: Lease, operation: str, sent: Any, lost: Any) -> None:
        self._end(operation, sent, "replayed")
        self._end(operation, lost, "lost")
        self.rows = {one: row for one, row in self.rows.items()
                     if row[:2] != ("replaying", operation)}

    def renew(self, held: Lease) -> None:
        pass

    def _end(self, operation: str, letters: Any, action: str) -> None:
        for one in letters:
            if self.rows.get(one, ("", ""))[:2] == ("replaying", operation):
                self.rows[one] = action, operation, self.rows[one][2]


class MemoryRewriter(Rewriter):
    """Stores that refuse what says so."""

    def __init__(self) -> None:
        self.written: list[tuple[Stage, bytes]] = []

    def write(self, stage: Stage, payloads: Sequence[bytes]) -> list[bool]:
        taken = [not payload.startswith(b"refuse") for payload in payloads]
        self.written += [(stage, payload) for payload, good in zip(payloads, taken, strict=True)
                         if good]
        return taken


class MemorySender(ReplaySender):
    """Kafka's transactions: invisible until committed, ended by the next take-over."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self._open: list[tuple[int, int, bytes]] = []

    def take_over(self) -> None:
        self._open = []

    def ends(self) -> dict[int, int]:
        return {number: len(log) for number, log in enumerate(self.topics.logs["events.raw"])}

    def begin(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        assert not self._open
        for key, value in messages:
            number = sum(key) % len(self.topics.logs["events.raw"])
            self.topics.add("events.raw", number, None)
            self._open.append((number, self.ends()[number] - 1, value))

    def commit(self) -> None:
        for number, offset, value in self._open:
            self.topics.logs["events.raw"][number][offset] = Record(
                "events.raw", number, offset, 0, None, value
            )
        self._open = []

    def give_up(self) -> None:
        # A dead process gives nothing up.
        pass
