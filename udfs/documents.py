"""Canonical records as documents of Elasticsearch, and which index each belongs to."""

import hashlib
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from typing import Any

import orjson
from fastavro import schemaless_reader

from udfs.cleaner import scale_of
from udfs.contract import Schema
from udfs.physical import parse_physical
from udfs.reasons import Reason, RejectedError, undecodable
from udfs.wire import HEADER_SIZE

_DAY = 86_400 * 1_000_000
_SECOND = 1_000_000
# 1970 as Python counts days.
_FIRST = date(1970, 1, 1).toordinal()
# Each event asks four times, for very few days.
_DATES: dict[int, str] = {}
_MOST_DATES = 10_000


@dataclass(frozen=True)
class Document:
    """One event, ready for `_bulk`."""

    # Days since 1970 in UTC: the index that it belongs to.
    day: int
    action: bytes
    source: bytes


def index_name(day: int) -> str:
    """Return the index of a day, counted from 1970."""
    return f"events-{_date(day).replace('-', '.')}"


def day_of(index: str) -> int | None:
    """Return the day of an index of ours, None for any other name."""
    try:
        day = date.fromisoformat(index.removeprefix("events-").replace(".", "-")).toordinal()
    except ValueError:
        return None
    return day - _FIRST if index_name(day - _FIRST) == index else None


def digest(message: bytes) -> tuple[int, int]:
    """Return a record's digest in two halves.

    Sums of numbers below 2**24 stay exact in Elasticsearch, which adds up as double.
    """
    found = hashlib.blake2b(message[HEADER_SIZE:], digest_size=6).digest()
    return int.from_bytes(found[:3], "big"), int.from_bytes(found[3:], "big")


class DocumentMaker:
    """Makes documents of the messages that one schema wrote."""

    def __init__(self, schema: Schema, *, versioned: bool = True) -> None:
        self._versioned = versioned
        self._schema = parse_physical(schema)
        kinds = {str(field["name"]): field["type"] for field in schema["fields"]}
        self._times = tuple(name for name, kind in kinds.items()
                            if isinstance(kind, dict)
                            and kind.get("logicalType") == "timestamp-micros")
        self._amount = 10 ** scale_of(kinds["amount"]) if "amount" in kinds else 1

    def document(self, message: bytes, oldest_day: int) -> Document:
        """Return a message's document; RejectedError when it cannot be one, or is too old."""
        event = self._read(message)
        try:
            return self._document(message, event, oldest_day)
        except (ValueError, OverflowError, KeyError, TypeError) as error:
            detail = f"no document can be made of it: {error}"[:300]
            raise RejectedError(Reason.UNDECODABLE, detail) from error

    def _document(self, message: bytes, event: dict[str, Any], oldest_day: int) -> Document:
        day = event["occurred_at"] // _DAY
        if day < oldest_day:
            detail = f"{index_name(day)} is no longer kept; the oldest is {index_name(oldest_day)}"
            raise RejectedError(Reason.EXPIRED, detail)
        # The version is the time of cleaning: an older copy never overwrites a newer one.
        version = (
            f',"version":{event["cleaned_at"]},"version_type":"external"' if self._versioned else ""
        )
        action = (
            f'{{"index":{{"_index":"{index_name(day)}","_id":"{event["event_id"]}"{version}}}}}'
        )
        for name in self._times:
            event[name] = _time(event[name])
        if (amount := event.get("amount")) is not None:
            event["amount"] = int.from_bytes(amount, "big", signed=True) / self._amount
        event["digest_high"], event["digest_low"] = digest(message)
        present = {name: value for name, value in event.items() if value is not None}
        return Document(day, action.encode(), orjson.dumps(present))

    def _read(self, message: bytes) -> dict[str, Any]:
        stream = BytesIO(message)
        stream.seek(HEADER_SIZE)
        try:
            event: dict[str, Any] = schemaless_reader(stream, self._schema, None)
        # Whatever the bytes make of it, only they are refused.
        except Exception as error:
            raise undecodable(error) from error
        if stream.tell() != len(message):
            raise RejectedError(Reason.UNDECODABLE, "bytes are left over after the record")
        return event


def _time(micros: int) -> str:
    day, rest = divmod(micros, _DAY)
    second, rest = divmod(rest, _SECOND)
    return f"{_date(day)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{rest:06}Z"


def _date(day: int) -> str:
    if (known := _DATES.get(day)) is not None:
        return known
    if len(_DATES) >= _MOST_DATES:
        _DATES.clear()
    _DATES[day] = text = date.fromordinal(_FIRST + day).isoformat()
    return text
