"""Lines of a function that reads a record's fields one after the other, without decoding it."""

from collections.abc import Mapping, Sequence
from typing import Any

from udfs.avro_parts import read_number, read_size
from udfs.contract import Schema
from udfs.reasons import Reason, RejectedError

# Each leaves the position behind the field; m is the message, i the position.
# A text or bytes: m[i:j].
BYTES = (
    "n = m[i]",
    "if n & 129: n, i = long_size(m, i)",
    "else: n >>= 1; i += 1",
    "j = i + n",
)
# A whole number: n.
NUMBER = (
    "n = m[i]",
    "if n & 128: n, i = number(m, i)",
    "else: n = (n >> 1) ^ -(n & 1); i += 1",
)
# A time: n. One of this century in microseconds takes eight bytes: no loop for those.
TIME = (
    "x = m[i:i + 8]",
    "if len(x) == 8 and x[7] < 128 <= x[0] & x[1] & x[2] & x[3] & x[4] & x[5] & x[6]:",
    " a, b, c, d, e, f, g, n = x",
    " n = (a & 127 | (b & 127) << 7 | (c & 127) << 14 | (d & 127) << 21 | (e & 127) << 28"
    " | (f & 127) << 35 | (g & 127) << 42 | n << 49)",
    " n = (n >> 1) ^ -(n & 1); i += 8",
    "else: n, i = number(m, i)",
)
# What these lines call.
READERS = {"number": read_number, "long_size": read_size}


def field_lines(
    field: Schema, bodies: Mapping[str, Sequence[str]], absent: Sequence[str],
    values: Mapping[str, Any],
) -> list[str]:
    """Return the lines for a field: its kind's, with values filled in, or those for null."""
    kind = field["type"]
    nullable = isinstance(kind, list)
    if nullable and (len(kind) != 2 or kind[0] != "null"):  # noqa: PLR2004
        message = f"only unions of null and one type can be written: {kind}"
        raise RejectedError(Reason.UNUSABLE_SCHEMA, message)
    name = _name(base_type(field))
    if name not in bodies:
        message = f"nothing can hold {base_type(field)}"
        raise RejectedError(Reason.UNUSABLE_SCHEMA, message)
    body = [line.format_map(values) for line in bodies[name]]
    if not nullable:
        return [f" {line}" for line in body]
    return [
        " b = m[i]", " i += 1", " if b == 0:",
        *(f"  {line.format_map(values)}" for line in absent),
        " elif b != 2: raise ValueError('no such branch')", " else:",
        *(f"  {line}" for line in body),
    ]


def base_type(field: Schema) -> Any:
    """Return a field's type, or what its union has beside null."""
    kind = field["type"]
    return kind[1] if isinstance(kind, list) else kind


def read_texts(message: bytes, place: int) -> tuple[dict[str, str], int]:
    """Return a map of texts, and the place after it."""
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
    return entries, count[1]


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
