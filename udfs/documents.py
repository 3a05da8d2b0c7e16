"""Canonical records as documents of Elasticsearch, and which index each belongs to."""

from datetime import date
from typing import NamedTuple

from udfs.contract import Schema
from udfs.document_decoder import DocumentDecoder
from udfs.document_text import DAY, FIRST_DAY, compile_document, date_text
from udfs.reasons import Reason, RejectedError

# How the names of the live indices begin.
PREFIX = "events-"


class Document(NamedTuple):
    """One event, ready for `_bulk`."""

    # Days since 1970 in UTC: the index that it belongs to.
    day: int
    action: bytes
    source: bytes


def index_name(day: int, prefix: str = PREFIX) -> str:
    """Return the index of a day, counted from 1970."""
    return f"{prefix}{date_text(day).replace('-', '.')}"


def day_of(index: str) -> int | None:
    """Return the day of an index of ours, None for any other name."""
    try:
        day = date.fromisoformat(index.removeprefix(PREFIX).replace(".", "-")).toordinal()
    except ValueError:
        return None
    return day - FIRST_DAY if index_name(day - FIRST_DAY) == index else None


class DocumentMaker:
    """Makes documents of the messages that one schema wrote."""

    def __init__(
        self, schema: Schema, *, prefix: str = PREFIX, versioned: bool = True
    ) -> None:
        self._prefix = prefix
        self._versioned = versioned
        self._short = compile_document(schema)
        self._long = DocumentDecoder(schema)

    def document(self, message: bytes, oldest_day: int) -> Document:
        """Return a message's document; RejectedError when it cannot be one, or is too old."""
        parts = self._short(message) or self._long.parts(message)
        day = parts.occurred_at // DAY
        try:
            index = index_name(day, self._prefix)
        except (ValueError, OverflowError) as error:
            # Of a schema that does not say that the number is a time.
            detail = f"{parts.occurred_at} microseconds are no time that a calendar knows"
            raise RejectedError(Reason.UNDECODABLE, detail) from error
        if day < oldest_day:
            detail = f"{index_name(day)} is no longer kept; the oldest is {index_name(oldest_day)}"
            raise RejectedError(Reason.EXPIRED, detail)
        # The version is the time of cleaning: an older copy never overwrites a newer one.
        version = (
            f',"version":{parts.cleaned_at},"version_type":"external"' if self._versioned else ""
        )
        action = f'{{"index":{{"_index":"{index}","_id":"{parts.event_id}"{version}}}}}'
        return Document(day, action.encode(), parts.source)
