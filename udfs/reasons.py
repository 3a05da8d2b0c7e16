"""Why a message cannot go on, and where it stopped: closed lists."""

from enum import Enum, StrEnum


class Stage(StrEnum):
    """The step that a message stopped at."""

    INGEST = "ingest"
    REFERENCE = "reference"
    TIMESCALE = "timescale"
    SEARCH = "search"


class Reason(Enum):
    """Why a message became a dead letter; `retriable` ones may pass unchanged at a later try."""

    EMPTY = ("empty", "the message has no bytes", False)
    TOO_LARGE = ("too_large", "the message is larger than the limit", False)
    NOT_WIRE_FORMAT = (
        "not_wire_format", "the message does not begin with a zero and a schema's id", False
    )
    UNKNOWN_SCHEMA = ("unknown_schema", "the registry knows no schema of this id", True)
    UNUSABLE_SCHEMA = (
        "unusable_schema", "the schema is too deep, refers to itself, or cannot be resolved", True
    )
    WRONG_RECORD = ("wrong_record", "the schema is registered, but is no event's", True)
    UNDECODABLE = ("undecodable", "the bytes do not fit their schema", False)
    MISSING_FIELD = ("missing_field", "a required id is empty", False)
    BAD_UUID = ("bad_uuid", "an id is no UUID", False)
    TOO_OLD = ("too_old", "it happened longer ago than the limit", False)
    TOO_FAR_AHEAD = ("too_far_ahead", "it claims to happen in the future", False)
    BAD_AMOUNT = ("bad_amount", "the amount or its currency makes no sense", False)
    UNKNOWN_EVENT_TYPE = (
        "unknown_event_type", "the domain has no such type of event", True
    )
    REFUSED = ("refused", "the store refuses this row or document", True)
    EXPIRED = ("expired", "it is older than what the store keeps", False)

    def __init__(self, code: str, description: str, retriable: bool) -> None:
        self.code = code
        self.description = description
        self.retriable = retriable

    @classmethod
    def of(cls, code: str) -> "Reason":
        """Return the reason with a code."""
        return next(reason for reason in cls if reason.code == code)


class RejectedError(Exception):
    """A message is refused for a reason, with a detail for a person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.code}: {detail}")
        self.reason = reason
        self.detail = detail
