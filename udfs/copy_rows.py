"""From Avro bytes straight to PostgreSQL's binary COPY: a function made for one schema.

Decoding a canonical record and formatting it as text takes three times as long, and text has to be
escaped. Here a text's bytes are copied as they are (the server checks them), times are numbers in
both forms, and nothing of a record becomes a Python object that does not have to.
"""

import struct
from binascii import unhexlify
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring as _quoted
from typing import Any

from udfs.avro_parts import read_number, read_size
from udfs.cleaner import scale_of
from udfs.contract import Schema
from udfs.reasons import Reason, RejectedError, undecodable
from udfs.wire import HEADER_SIZE

RowWriter = Callable[[bytes], bytes]

# What COPY's binary form begins and ends with.
COPY_HEAD = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
COPY_TAIL = b"\xff\xff"

_NULL = b"\xff\xff\xff\xff"
# PostgreSQL counts microseconds from the year 2000.
_EPOCH = 946_684_800_000_000
# PostgreSQL keeps an exact number as digits of this base.
_BASE = 10_000
_BASE_PLACES = 4
# A length below this is one byte in Avro, and has its four bytes of COPY ready.
_SHORT = 64
_NEGATIVE = 0x4000

# Each sets {into} to the field with its length in front; m is the message, i the position.
_BYTES = (
    "n = m[i]",
    "if n & 129: n, i = long_size(m, i)",
    "else: n >>= 1; i += 1",
    "j = i + n",
)
_NUMBER = (
    "n = m[i]",
    "if n & 128: n, i = number(m, i)",
    "else: n = (n >> 1) ^ -(n & 1); i += 1",
)
# A time of this century in microseconds takes eight bytes: no loop for those.
_TIME = (
    "x = m[i:i + 8]",
    "if len(x) == 8 and x[7] < 128 <= x[0] & x[1] & x[2] & x[3] & x[4] & x[5] & x[6]:",
    " a, b, c, d, e, f, g, n = x",
    " n = (a & 127 | (b & 127) << 7 | (c & 127) << 14 | (d & 127) << 21 | (e & 127) << 28"
    " | (f & 127) << 35 | (g & 127) << 42 | n << 49)",
    " n = (n >> 1) ^ -(n & 1); i += 8",
    "else: n, i = number(m, i)",
)
_BODIES = {
    "string": (*_BYTES, "{into} = (sizes[n] if n < short else size(n)) + m[i:j]", "i = j"),
    "uuid": (*_BYTES, "{into} = uuid_size + unhexlify(m[i:j].replace(dash, nothing))", "i = j"),
    "int": (*_NUMBER, "{into} = pack('>ii', 4, n)"),
    "time": (*_TIME, "{into} = pack('>iq', 8, n - epoch)"),
    "long": (*_NUMBER, "{into} = pack('>iq', 8, n)"),
    "decimal": (*_BYTES, "{into} = numeric(m[i:j], {shift})", "i = j"),
    "double": ("j = i + 8", "{into} = double_size + m[i:j][::-1]", "i = j"),
    "boolean": ("{into} = true if m[i] else false", "i += 1"),
    "map": ("{into}, i = mapping(m, i)",),
}


def compile_row(written: Schema, columns: Sequence[str]) -> RowWriter:
    """Return a function from a message to a row with these columns, in this order.

    A column that the schema does not have becomes NULL; a field without a column is passed over.
    """
    names = [str(field["name"]) for field in written["fields"]]
    lines = ["def row(m):", f" i, end = {HEADER_SIZE}, len(m)"]
    for number, field in enumerate(written["fields"]):
        lines += _field(f"c{number}", field["type"])
    row = ", ".join(
        f"c{names.index(column)}" if column in names else "null" for column in columns
    )
    lines += [" if i != end: raise left_over(i, end)", f" return join((count, {row}))"]
    known: dict[str, Any] = {
        "number": read_number, "long_size": read_size, "mapping": _mapping, "numeric": _numeric,
        "left_over": _left_over, "unhexlify": unhexlify, "join": b"".join, "null": _NULL,
        "dash": b"-", "nothing": b"", "short": _SHORT, "epoch": _EPOCH,
        "count": struct.pack(">h", len(columns)),
        "sizes": tuple(map(_size, range(_SHORT))), "size": _size,
        "uuid_size": _size(16), "double_size": _size(8),
        "pack": struct.pack,
        "true": _size(1) + b"\x01", "false": _size(1) + b"\x00",
    }
    # The text comes from a registered schema's types; its names are only counted.
    exec("\n".join(lines), known)  # noqa: S102
    write: RowWriter = known["row"]

    def row_of(message: bytes) -> bytes:
        try:
            return write(message)
        except RejectedError:
            raise
        # Whatever bytes make of it, only they are refused.
        except Exception as error:
            raise undecodable(error) from error

    return row_of


def _field(into: str, kind: Any) -> list[str]:
    nullable = isinstance(kind, list)
    if nullable and (len(kind) != 2 or kind[0] != "null"):  # noqa: PLR2004
        message = f"only unions of null and one type can be rows: {kind}"
        raise RejectedError(Reason.UNUSABLE_SCHEMA, message)
    base = kind[1] if nullable else kind
    name = _name(base)
    if name not in _BODIES:
        message = f"no column can hold {base}"
        raise RejectedError(Reason.UNUSABLE_SCHEMA, message)
    shift = -scale_of(base) % _BASE_PLACES, (scale_of(base) + _BASE_PLACES - 1) // _BASE_PLACES
    body = [line.format(into=into, shift=f"{scale_of(base)}, {shift[0]}, {shift[1]}")
            for line in _BODIES[name]]
    if not nullable:
        return [f" {line}" for line in body]
    return [
        " b = m[i]", " i += 1", f" if b == 0: {into} = null",
        " elif b != 2: raise ValueError('no such branch')", " else:",
        *(f"  {line}" for line in body),
    ]


def _name(base: Any) -> str:
    if not isinstance(base, dict):
        return str(base)
    logical = {
        ("string", "uuid"): "uuid", ("long", "timestamp-micros"): "time",
        ("bytes", "decimal"): "decimal",
    }
    if base["type"] == "map":
        return "map" if base["values"] == "string" else "map of something"
    return logical.get((base["type"], base.get("logicalType", "")), str(base["type"]))


def _size(number: int) -> bytes:
    return struct.pack(">i", number)


def _mapping(message: bytes, place: int) -> tuple[bytes, int]:
    entries: dict[str, str] = {}
    while (count := read_number(message, place)) and count[0]:
        left, place = count
        if left < 0:
            # The writer says how many bytes follow, for readers that pass them over.
            left, (_, place) = -left, read_number(message, place)
        for _ in range(left):
            size, place = read_size(message, place)
            key = message[place:place + size].decode()
            place += size
            size, place = read_size(message, place)
            entries[key] = message[place:place + size].decode()
            place += size
            if place > len(message):
                text = "it ends in the middle of a map"
                raise ValueError(text)
    text = ", ".join([f"{_quoted(key)}: {_quoted(value)}" for key, value in entries.items()])
    body = b"\x01{" + text.encode() + b"}"
    return _size(len(body)) + body, count[1]


def _numeric(value: bytes, scale: int, shift: int, fraction: int) -> bytes:
    left = int.from_bytes(value, "big", signed=True)
    sign = _NEGATIVE if left < 0 else 0
    left = abs(left) * int(10**shift)
    digits = []
    while left:
        left, digit = divmod(left, _BASE)
        digits.append(digit)
    body = struct.pack(
        f">hhhh{len(digits)}h", len(digits), len(digits) - fraction - 1, sign, scale,
        *reversed(digits),
    )
    return _size(len(body)) + body


def _left_over(place: int, size: int) -> RejectedError:
    detail = f"{size - place:,} bytes are left over after the record"
    if place > size:
        detail = f"the record ends {place - size:,} bytes too early"
    return RejectedError(Reason.UNDECODABLE, detail)
