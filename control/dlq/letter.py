"""A dead letter as it lies in events.dlq, and the states it can be in."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from control.errors import MisuseError
from control.events.decoding import Decoding
from control.events.reader import Record

TOPIC = "events.dlq"
RECORD = "sluice.events.DeadLetter"

_ID = re.compile(r"(\d{1,9}):(\d{1,18})")


class State(StrEnum):
    """What was done about a letter."""

    OPEN = "open"
    REPLAYING = "replaying"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    UNKNOWN = "unknown"

    @property
    def description(self) -> str:
        """What it means, for a person."""
        return _DESCRIPTIONS[self.value]


_DESCRIPTIONS = {
    "open": "nothing was done about it yet",
    "replaying": "it is being sent right now",
    "replayed": "it was sent again",
    "discarded": "somebody decided that it needs nothing",
    "unknown": "a replay was cut off; the next replay or discard finds out whether it was sent",
}


@dataclass(frozen=True, order=True)
class LetterId:
    """Where a letter lies, which is its name."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


def parse_id(text: str) -> LetterId:
    """Return a letter's id as a person wrote it."""
    match = _ID.fullmatch(text)
    if match is None:
        message = f"{text!r} names no letter."
        raise MisuseError(message, "A letter is partition:offset, as in 2:118.")
    return LetterId(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class Letter:
    """Everything about a letter but its payload, which may be large."""

    id: LetterId
    # When the broker took it.
    time: datetime
    reason: str
    detail: str
    stage: str
    retriable: bool
    attempt: int
    failed_at: Any
    source_topic: str
    source_time: Any
    schema_id: int | None
    event_id: str | None
    tenant_id: str | None
    correlation_id: str | None
    replay_of: str | None
    # Of the payload, in bytes.
    size: int


def read_letter(record: Record, decoding: Decoding) -> tuple[Letter, bytes] | None:
    """Return a letter and its payload; None for a message that is no letter."""
    decoded = decoding.decode(record.value)
    if decoded.fields is None or decoded.record != RECORD:
        return None
    fields = dict(decoded.fields)
    payload = fields.pop("payload")
    known: dict[str, Any] = {name: fields.get(name) for name in _FIELDS}
    time = datetime.fromtimestamp(record.timestamp / 1_000, UTC)
    return Letter(
        LetterId(record.partition, record.offset), time, size=len(payload), **known
    ), payload


# A later version of the record may have more.
_FIELDS = (
    "reason", "detail", "stage", "retriable", "attempt", "failed_at", "source_topic",
    "source_time", "schema_id", "event_id", "tenant_id", "correlation_id", "replay_of",
)
