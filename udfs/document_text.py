"""From Avro bytes straight to a document's JSON, for records in which nothing is unusual.

A text's bytes are copied as they are, where JSON would not have to escape them. Whatever else a
record holds, or a schema, goes the long way in `documents`, which alone refuses.
"""

import hashlib
import struct
from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

import orjson

from udfs.cleaner import scale_of
from udfs.contract import Schema
from udfs.field_code import BYTES, NUMBER, READERS, TIME, base_type, field_lines, read_texts
from udfs.reasons import RejectedError
from udfs.wire import HEADER_SIZE

DAY = 86_400 * 1_000_000
_SECOND = 1_000_000
# 1970 as Python counts days.
FIRST_DAY = date(1970, 1, 1).toordinal()
# Each event asks four times, for very few days and seconds.
_DATES: dict[int, str] = {}
_SECONDS: dict[int, str] = {}
_MOST_KNOWN = 10_000

# JSON escapes these.
_ODD = bytes(range(32)) + b'"\\'

# Each sets {into} to the field with its name in front, and v{into} to a text that is to be looked
# at; {seen} keeps what the action says.
_TEXT = (*BYTES, "v{into} = m[i:j]", "{into} = {key} + v{into} + quote", "{seen}", "i = j")
_BODIES = {
    "string": _TEXT,
    "uuid": _TEXT,
    "int": (*NUMBER, "{into} = {key} + b'%d' % n", "{seen}"),
    "long": (*NUMBER, "{into} = {key} + b'%d' % n", "{seen}"),
    "time": (*TIME, "{into} = {key} + time_text(n).encode() + quote", "{seen}"),
    "decimal": (*BYTES, "{into} = {key} + dumps(from_bytes(m[i:j], 'big', signed=True) / {power})",
                "i = j"),
    "double": ("{into} = {key} + dumps(read_double(m, i)[0])", "i += 8"),
    "boolean": ("{into} = {key} + (true if m[i] else false)", "i += 1"),
    "map": ("n, i = texts(m, i)", "{into} = {key} + dumps(n)"),
}
_ABSENT = ("{into} = nothing",)
_SEEN = {"event_id": "event_id = v{into}", "occurred_at": "occurred_at = n",
         "cleaned_at": "cleaned_at = n"}


class Parts(NamedTuple):
    """A document, and what its `_bulk` action says."""

    event_id: str
    occurred_at: int
    cleaned_at: int
    source: bytes


def compile_document(written: Schema) -> Callable[[bytes], Parts | None]:
    """Return a function from a message to its document, or None where it is unusual."""
    fields = written["fields"]
    certain = {str(field["name"]) for field in fields if not isinstance(field["type"], list)}
    if not certain.issuperset(_SEEN):
        return _nothing
    lines = ["def document(m):", f" i, end = {HEADER_SIZE}, len(m)"]
    try:
        for number, field in enumerate(fields):
            lines += [f" vc{number} = nothing",
                      *field_lines(field, _BODIES, _ABSENT, _values(f"c{number}", field))]
    except RejectedError:
        return _nothing
    numbers = range(len(fields))
    lines += [
        " if i != end: return None",
        f" texts_in_it = join(({', '.join(f'vc{number}' for number in numbers)},))",
        " if len(texts_in_it.translate(None, odd)) != len(texts_in_it): return None",
        " high, low = digest(m)",
        f" source = join((head % (high, low), {', '.join(f'c{number}' for number in numbers)},"
        " brace))",
        # Each text by itself must be one, not only all of them in a row.
        " if not source.isascii(): source.decode()",
        " return parts(event_id.decode(), occurred_at, cleaned_at, source)",
    ]
    known: dict[str, Any] = {
        **READERS, "texts": read_texts, "join": b"".join, "nothing": b"", "quote": b'"',
        "brace": b"}", "head": b'{"digest_high":%d,"digest_low":%d', "odd": _ODD,
        "true": b"true", "false": b"false", "dumps": orjson.dumps, "time_text": time_text,
        "from_bytes": int.from_bytes, "read_double": struct.Struct("<d").unpack_from,
        "digest": digest, "parts": Parts,
    }
    # The text comes from a registered schema's types, and from its names as literals.
    exec("\n".join(lines), known)  # noqa: S102
    short: Callable[[bytes], Parts | None] = known["document"]

    def document(message: bytes) -> Parts | None:
        try:
            return short(message)
        # Whatever the bytes make of it: the long way finds the same and says it.
        except Exception:  # noqa: BLE001
            return None

    return document


def digest(message: bytes) -> tuple[int, int]:
    """Return a record's digest in two halves.

    Sums of numbers below 2**24 stay exact in Elasticsearch, which adds up as double.
    """
    found = hashlib.blake2b(message[HEADER_SIZE:], digest_size=6).digest()
    return int.from_bytes(found[:3], "big"), int.from_bytes(found[3:], "big")


def time_text(micros: int) -> str:
    """Return a time in UTC as text."""
    second, rest = divmod(micros, _SECOND)
    known = _SECONDS.get(second)
    if known is None:
        day, left = divmod(second, DAY // _SECOND)
        if len(_SECONDS) >= _MOST_KNOWN:
            _SECONDS.clear()
        known = f"{date_text(day)}T{left // 3600:02}:{left // 60 % 60:02}:{left % 60:02}."
        _SECONDS[second] = known
    return f"{known}{rest:06}Z"


def date_text(day: int) -> str:
    """Return a day, counted from 1970, as text."""
    if (known := _DATES.get(day)) is not None:
        return known
    if len(_DATES) >= _MOST_KNOWN:
        _DATES.clear()
    _DATES[day] = text = date.fromordinal(FIRST_DAY + day).isoformat()
    return text


def _values(into: str, field: Schema) -> dict[str, Any]:
    name, base = str(field["name"]), base_type(field)
    kind = base if isinstance(base, str) else base.get("logicalType") or base["type"]
    is_text = kind in {"string", "uuid", "timestamp-micros"}
    return {
        "into": into,
        "key": repr(f',"{name}":{chr(34) if is_text else ""}'.encode()),
        "seen": _SEEN.get(name, "").format(into=into),
        "power": 10 ** scale_of(base),
    }


def _nothing(message: bytes) -> Parts | None:
    """Leave every message to the long way."""
    del message
    return None
