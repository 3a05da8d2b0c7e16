"""Avro writers for flat records, made once for each schema: half of fastavro's time for an event.

Made-up events are the load of every benchmark: what writes them must cost less than what reads
them. A schema with anything but plain fields goes through fastavro.
"""

from collections.abc import Callable
from io import BytesIO
from struct import Struct
from typing import Any

from fastavro import schemaless_writer

from udfs.contract import Schema
from udfs.physical import parse_physical

Writer = Callable[[Any], bytes]

_DOUBLE = Struct("<d").pack
_FLOAT = Struct("<f").pack


def record_writer(schema: Schema) -> Writer:
    """Return what writes a record's fields, given as a dictionary."""
    fields = [(field["name"], _writer(field["type"])) for field in schema["fields"]]
    if any(write is None for _, write in fields):
        return _by_fastavro(schema)
    defaults = {field["name"]: field["default"] for field in schema["fields"] if "default" in field}

    def record(body: dict[str, Any]) -> bytes:
        try:
            return b"".join([write(body[name]) for name, write in fields])  # type: ignore[misc]
        except KeyError:
            # A later version has fields that the generator does not know.
            full = {**defaults, **body}
            return b"".join([write(full[name]) for name, write in fields])  # type: ignore[misc]

    return record


def _by_fastavro(schema: Schema) -> Writer:
    parsed = parse_physical(schema)

    def record(body: dict[str, Any]) -> bytes:
        out = BytesIO()
        schemaless_writer(out, parsed, body)
        return out.getvalue()

    return record


def integer(value: int) -> bytes:
    """Return an int or long: zigzag, seven bits a byte, the low ones first."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# Most integers are lengths and small counts.
_SMALL = [integer(value) for value in range(1_024)]


def _int(value: int) -> bytes:
    return _SMALL[value] if 0 <= value < len(_SMALL) else integer(value)


def _bytes(value: bytes) -> bytes:
    return _int(len(value)) + value


def _string(value: str) -> bytes:
    return _bytes(value.encode())


def _boolean(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


_PLAIN: dict[str, Writer] = {
    "int": _int, "long": integer, "bytes": _bytes, "string": _string, "boolean": _boolean,
    "double": _DOUBLE, "float": _FLOAT,
}


def _writer(kind: Any) -> Writer | None:
    if isinstance(kind, str):
        return _PLAIN.get(kind)
    if isinstance(kind, list):
        return _optional(kind)
    if kind["type"] == "enum":
        return {symbol: _int(index) for index, symbol in enumerate(kind["symbols"])}.__getitem__
    return _writer(kind["type"]) if isinstance(kind["type"], str) else None


def _optional(branches: list[Any]) -> Writer | None:
    if len(branches) != 2 or branches[0] != "null":  # noqa: PLR2004 - null and one more
        return None
    inner = _writer(branches[1])
    if inner is None:
        return None
    write = inner

    def optional(value: Any) -> bytes:
        return b"\x00" if value is None else b"\x02" + write(value)

    return optional
