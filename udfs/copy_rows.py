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

from udfs.cleaner import scale_of
from udfs.contract import Schema
from udfs.field_code import BYTES, NUMBER, READERS, TIME, base_type, field_lines, read_texts
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

# Each sets {into} to the field with its length in front.
_BODIES = {
    "string": (*BYTES, "{into} = (sizes[n] if n < short else size(n)) + m[i:j]", "i = j"),
    "uuid": (*BYTES, "{into} = uuid_size + unhexlify(m[i:j].replace(dash, nothing))", "i = j"),
    "int": (*NUMBER, "{into} = pack('>ii', 4, n)"),
    "time": (*TIME, "{into} = pack('>iq', 8, n - epoch)"),
    "long": (*NUMBER, "{into} = pack('>iq', 8, n)"),
    "decimal": (*BYTES, "{into} = numeric(m[i:j], {shift})", "i = j"),
    "double": ("j = i + 8", "{into} = double_size + m[i:j][::-1]", "i = j"),
    "boolean": ("{into} = true if m[i] else false", "i += 1"),
    "map": ("{into}, i = mapping(m, i)",),
}
_NULL_LINES = ("{into} = null",)


def compile_row(written: Schema, columns: Sequence[str]) -> RowWriter:
    """Return a function from a message to a row with these columns, in this order.

    A column that the schema does not have becomes NULL; a field without a column is passed over.
    """
    names = [str(field["name"]) for field in written["fields"]]
    lines = ["def row(m):", f" i, end = {HEADER_SIZE}, len(m)"]
    for number, field in enumerate(written["fields"]):
        lines += field_lines(field, _BODIES, _NULL_LINES, _values(f"c{number}", field))
    row = ", ".join(
        f"c{names.index(column)}" if column in names else "null" for column in columns
    )
    lines += [" if i != end: raise left_over(i, end)", f" return join((count, {row}))"]
    known: dict[str, Any] = {
        **READERS, "mapping": _mapping, "numeric": _numeric,
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


def _values(into: str, field: Schema) -> dict[str, Any]:
    scale = scale_of(base_type(field))
    shift = -scale % _BASE_PLACES, (scale + _BASE_PLACES - 1) // _BASE_PLACES
    return {"into": into, "shift": f"{scale}, {shift[0]}, {shift[1]}"}


def _size(number: int) -> bytes:
    return struct.pack(">i", number)


def _mapping(message: bytes, place: int) -> tuple[bytes, int]:
    entries, place = read_texts(message, place)
    text = ", ".join([f"{_quoted(key)}: {_quoted(value)}" for key, value in entries.items()])
    body = b"\x01{" + text.encode() + b"}"
    return _size(len(body)) + body, place


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
