"""Why a message cannot go on, and where it stopped: closed lists."""

from enum import StrEnum


class Stage(StrEnum):
    """The step that a message stopped at."""

    INGEST = "ingest"
    REFERENCE = "reference"
    TIMESCALE = "timescale"
    SEARCH = "search"


class Reason(StrEnum):
    """Why a message became a dead letter."""

    # Plain values: members with more in them do not survive the way into a job.
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_WIRE_FORMAT = "not_wire_format"
    UNKNOWN_SCHEMA = "unknown_schema"
    UNUSABLE_SCHEMA = "unusable_schema"
    WRONG_RECORD = "wrong_record"
    UNDECODABLE = "undecodable"
    MISSING_FIELD = "missing_field"
    BAD_UUID = "bad_uuid"
    TOO_OLD = "too_old"
    TOO_FAR_AHEAD = "too_far_ahead"
    BAD_AMOUNT = "bad_amount"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    REFUSED = "refused"
    EXPIRED = "expired"

    @property
    def description(self) -> str:
        """What it means, for a person."""
        return _DESCRIPTIONS[self.value]

    @property
    def retriable(self) -> bool:
        """Whether the same bytes may pass at a later try, once something else was mended."""
        return self.value in _RETRIABLE


_DESCRIPTIONS = {
    "empty": "the message has no bytes",
    "too_large": "the message is larger than the limit",
    "not_wire_format": "the message does not begin with a zero and a schema's id",
    "unknown_schema": "the registry knows no schema of this id",
    "unusable_schema": "the schema is too deep, refers to itself, or cannot be resolved",
    "wrong_record": "the schema is registered, but is no event's",
    "undecodable": "the bytes do not fit their schema",
    "missing_field": "a required id is empty",
    "bad_uuid": "an id is no UUID",
    "too_old": "it happened longer ago than the limit",
    "too_far_ahead": "it claims to happen in the future",
    "bad_amount": "the amount or its currency makes no sense",
    "unknown_event_type": "the domain has no such type of event",
    "refused": "the store refuses this row or document",
    "expired": "it is older than what the store keeps",
}

# What a registration, a new rule or a new table can mend.
_RETRIABLE = frozenset({
    "unknown_schema", "unusable_schema", "wrong_record", "unknown_event_type", "refused",
})


class RejectedError(Exception):
    """A message is refused for a reason, with a detail for a person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def undecodable(error: Exception) -> RejectedError:
    """Return the refusal of bytes that made a decoder raise this."""
    # fastavro names the object that it read from, with its address: nothing for a person.
    said = str(error).partition(" from <")[0]
    return RejectedError(Reason.UNDECODABLE, f"{type(error).__name__}: {said}"[:300])
