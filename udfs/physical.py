"""Schemas as the wire has them, without logical types, and what may be decoded with them.

A UUID stays text, a time stays a number of microseconds and an amount stays bytes: making Python
objects of them and writing them back would take longer than everything else in `ingest`.
"""

from typing import Any

from fastavro import parse_schema

from udfs.contract import Schema
from udfs.reasons import Reason, RejectedError

# Deeper than any sensible event; the decoder goes one stack frame deeper for each level.
MAX_DEPTH = 16

_PRIMITIVES = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
)


def parse_physical(schema: Schema) -> Any:
    """Parse a schema without its logical types."""
    return parse_schema(_without_logical_types(schema))


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(branch) for branch in schema]
    if isinstance(schema, dict):
        return {
            key: value if key in {"default", "symbols", "aliases"} else
            _without_logical_types(value)
            for key, value in schema.items() if key != "logicalType"
        }
    return schema


def check_usable(schema: Any) -> None:
    """Refuse a schema that hostile bytes could use against the decoder."""
    _check(schema, 0, set(), "")


def _check(schema: Any, depth: int, known: set[str], namespace: str) -> bool:
    """Return whether every value of the schema takes at least one byte."""
    if depth > MAX_DEPTH:
        raise RejectedError(Reason.UNUSABLE_SCHEMA, f"it nests deeper than {MAX_DEPTH} levels")
    if isinstance(schema, list):
        for branch in schema:
            _check(branch, depth + 1, known, namespace)
        return True
    if isinstance(schema, str):
        # A name seen before is refused inside itself; used side by side it costs nothing.
        if schema not in _PRIMITIVES and schema in known:
            raise RejectedError(Reason.UNUSABLE_SCHEMA, f"{schema} contains itself")
        return schema != "null"
    return _check_complex(schema, depth, known, namespace)


def _check_complex(schema: Any, depth: int, known: set[str], namespace: str) -> bool:
    kind = schema["type"]
    if kind in {"array", "map"}:
        items = schema["items" if kind == "array" else "values"]
        # A map's key takes a byte by itself.
        if not _check(items, depth + 1, known, namespace) and kind == "array":
            detail = "an array of items without bytes can claim any length"
            raise RejectedError(Reason.UNUSABLE_SCHEMA, detail)
        return True
    if kind in {"record", "error"}:
        name = str(schema["name"])
        inner_namespace = str(schema.get("namespace", namespace))
        inside = known | {name, f"{inner_namespace}.{name}"}
        sizes = [
            _check(field["type"], depth + 1, inside, inner_namespace)
            for field in schema["fields"]
        ]
        return any(sizes)
    if kind == "fixed":
        return int(schema["size"]) > 0
    if kind == "enum":
        return True
    return _check(kind, depth + 1, known, namespace)
