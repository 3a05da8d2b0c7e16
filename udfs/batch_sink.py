"""What a sink does with a batch of canonical records: write all, and a letter for each refused."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Generic, Protocol, TypeVar

from fastavro import schemaless_reader

from udfs.contract import Schema, full_name
from udfs.letters import Known, LetterWriter, Origin
from udfs.physical import check_usable, parse_physical
from udfs.reasons import Reason, RejectedError
from udfs.schema_store import SchemaStore
from udfs.wire import HEADER_SIZE, schema_id

Item = TypeVar("Item")


class Store(Protocol[Item]):
    """A store that takes batches of what it made of messages."""

    def item(self, message: bytes) -> Item:
        """Return what is written for a message; RejectedError when nothing can be."""

    def write(self, items: Sequence[Item]) -> list[tuple[int, RejectedError]]:
        """Write durably, however long it takes; return the numbers of those that are refused."""


class WritesNothing(Generic[Item]):
    """A store that only judges: for proving that a job can begin with a state."""

    def __init__(self, store: Store[Item]) -> None:
        self._store = store

    def item(self, message: bytes) -> Item:
        """Return what would be written for a message."""
        return self._store.item(message)

    def write(self, _items: Sequence[Item]) -> list[tuple[int, RejectedError]]:
        """Write nothing, and refuse nothing."""
        return []


@dataclass(frozen=True)
class Written:
    """What became of a batch."""

    # For each message None, or the letter's key and the letter.
    letters: list[tuple[str, bytes] | None]
    refused: int


class CleanSchemas:
    """Schemas of canonical records by their ids in the registry."""

    def __init__(self, store: SchemaStore, clean: Schema) -> None:
        self._store = store
        self._record = full_name(clean)

    def of(self, message: bytes) -> tuple[int, Schema]:
        """Return the id and the schema that a message was written with."""
        number = schema_id(message)
        if number is None:
            raise RejectedError(Reason.NOT_WIRE_FORMAT, "no registered record")
        schema = self._store.schema(number)
        if schema.get("type") != "record" or full_name(schema) != self._record:
            raise RejectedError(Reason.WRONG_RECORD, f"schema {number} is no {self._record}")
        return number, schema


class BatchSink(Generic[Item]):
    """Writes batches of messages into a store."""

    def __init__(
        self, store: Store[Item], schemas: CleanSchemas, letters: LetterWriter, topic: str,
        max_bytes: int,
    ) -> None:
        self._store = store
        self._schemas = schemas
        self._letters = letters
        self._topic = topic
        self._max_bytes = max_bytes

    def write(self, messages: Sequence[bytes]) -> Written:
        """Return when every message is in the store or has its letter."""
        letters: list[tuple[str, bytes] | None] = [None] * len(messages)
        items: list[Item] = []
        places: list[int] = []
        size = 0
        for place, message in enumerate(messages):
            try:
                items.append(self._store.item(message))
            except RejectedError as error:
                letters[place] = self._letter(message, error)
                continue
            places.append(place)
            size += len(message)
            if size >= self._max_bytes:
                self._flush(messages, items, places, letters)
                items, places, size = [], [], 0
        self._flush(messages, items, places, letters)
        return Written(letters, sum(letter is not None for letter in letters))

    def _flush(
        self, messages: Sequence[bytes], items: list[Item], places: list[int],
        letters: list[tuple[str, bytes] | None],
    ) -> None:
        if not items:
            return
        for number, error in self._store.write(items):
            place = places[number]
            letters[place] = self._letter(messages[place], error)

    def _letter(self, message: bytes, error: RejectedError) -> tuple[str, bytes]:
        now = time.time_ns() // 1000
        event = self._read(message)
        known = Known(*(event.get(name) for name in ("event_id", "tenant_id", "correlation_id")))
        # Kafka's own time does not come as far as this; ingest hands over what it has cleaned.
        origin = Origin(self._topic, event.get("cleaned_at", now))
        letter = self._letters.letter(message, error, origin, now, known)
        return known.event_id or hashlib.sha256(message).hexdigest(), letter

    def _read(self, message: bytes) -> dict[str, Any]:
        """Return what can be read of a message that is refused."""
        stream = BytesIO(message)
        stream.seek(HEADER_SIZE)
        try:
            _, schema = self._schemas.of(message)
            check_usable(schema)
            event = schemaless_reader(stream, parse_physical(schema), None)
        # It is refused anyway: the letter then carries the bytes and nothing else.
        except Exception:  # noqa: BLE001
            return {}
        return event if isinstance(event, dict) else {}
