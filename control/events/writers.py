"""Avro writers of whole records: compiled where the record is flat, fastavro's otherwise.

Made-up events are the load of every benchmark: what writes them must cost less than what reads
them, and fastavro's writer was the dearest step of making one.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastavro import schemaless_writer

from control.events.event import Body
from udfs.contract import Schema
from udfs.physical import parse_physical
from udfs.record_writer import compile_writer

Writer = Callable[[Body], bytes]

_PLAIN = frozenset({"string", "bytes", "long", "int", "double", "boolean"})


def record_writer(schema: Schema) -> Writer:
    """Return what writes a record's fields; a missing one takes its default."""
    fields = schema["fields"]
    plain = {field["name"]: _plain(field["type"]) for field in fields}
    if None in plain.values():
        return _by_fastavro(schema)
    write = compile_writer(
        {**schema, "fields": [{"name": name, "type": kind} for name, kind in plain.items()]}
    )
    # A later version has fields that the generator does not know.
    defaults = {
        field["name"]: _default(field["default"], plain[field["name"]])
        for field in fields if "default" in field
    }
    count = len(fields)
    symbols = [
        (field["name"], {None: None} | {symbol: index for index, symbol in enumerate(found)})
        for field in fields if (found := _symbols(field["type"]))
    ]

    def record(body: Body) -> bytes:
        full = {**defaults, **body} if len(body) < count else body.copy()
        for name, numbers in symbols:
            full[name] = numbers[full[name]]
        return write(full)

    return record


def _by_fastavro(schema: Schema) -> Writer:
    parsed = parse_physical(schema)

    def record(body: Body) -> bytes:
        out = BytesIO()
        schemaless_writer(out, parsed, body)
        return out.getvalue()

    return record


def _plain(kind: Any) -> Any:
    """Return a type as the wire has it, an enum as a number; None if it is not flat."""
    if isinstance(kind, str):
        return kind if kind in _PLAIN else None
    if isinstance(kind, list):
        if len(kind) != 2 or kind[0] != "null":  # noqa: PLR2004 - null and one more
            return None
        inner = _plain(kind[1])
        return ["null", inner] if isinstance(inner, str) else None
    return "int" if kind["type"] == "enum" else _plain(kind["type"])


def _symbols(kind: Any) -> list[str]:
    """Return the symbols of an enum, also where it is nullable; none for other types."""
    if isinstance(kind, list):
        return next((found for branch in kind if (found := _symbols(branch))), [])
    if not isinstance(kind, dict):
        return []
    return list(kind["symbols"]) if kind["type"] == "enum" else _symbols(kind["type"])


def _default(value: Any, plain: Any) -> Any:
    # Schemas are JSON: the bytes of a default are written as letters.
    is_bytes = plain == "bytes" and isinstance(value, str)
    return value.encode("latin-1") if is_bytes else value
