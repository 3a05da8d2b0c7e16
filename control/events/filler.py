"""Fields for a domain that the generator has no story for: whatever fits its schema."""

from collections.abc import Callable
from random import Random
from typing import Any

from control.events.chance import hexadecimal, uuid4
from control.events.event import Body, to_bytes
from udfs.contract import Schema

# What every event has; the generator fills it in.
ENVELOPE = frozenset({
    "event_id", "event_type", "occurred_at", "tenant_id", "entity_id", "correlation_id",
    "causation_id", "source", "trace_context",
})


def fill(chance: Random, schema: Schema, now: int) -> Body:
    """Return made-up values for every field beyond the envelope."""
    return {
        field["name"]: _value(chance, field["type"], field["name"], now)
        for field in schema["fields"] if field["name"] not in ENVELOPE
    }


def _value(chance: Random, kind: Any, name: str, now: int) -> Any:
    if isinstance(kind, list):
        return _value(chance, chance.choice(kind), name, now)
    if isinstance(kind, str):
        kind = {"type": kind}
    inner = kind["type"]
    if inner in _PLAIN:
        return _PLAIN[inner](chance, kind, name, now)
    if inner == "array":
        return [_value(chance, kind["items"], name, now)]
    if inner == "map":
        return {name: _value(chance, kind["values"], name, now)}
    if inner == "record":
        return {
            field["name"]: _value(chance, field["type"], field["name"], now)
            for field in kind["fields"]
        }
    # A type in a type, as {"type": {"type": "enum", ...}}.
    return _value(chance, inner, name, now)


def _integer(chance: Random, kind: Any, _name: str, now: int) -> int:
    logical = kind.get("logicalType", "")
    if logical == "timestamp-micros":
        return now
    return now // 1_000 if logical == "timestamp-millis" else chance.randrange(1_000)


def _text(chance: Random, kind: Any, name: str, _now: int) -> str:
    if kind.get("logicalType") == "uuid":
        return uuid4(hexadecimal(chance, 16))
    # Ingest holds every domain's currency to its rule.
    return "EUR" if name == "currency" else f"{name}-{hexadecimal(chance, 2)}"


def _bytes(chance: Random, _kind: Any, _name: str, _now: int) -> bytes:
    return to_bytes(chance.randrange(10_000))


_PLAIN: dict[str, Callable[[Random, Any, str, int], Any]] = {
    "null": lambda _chance, _kind, _name, _now: None,
    "boolean": lambda chance, _kind, _name, _now: chance.choice((True, False)),
    "int": _integer,
    "long": _integer,
    "float": lambda chance, _kind, _name, _now: round(chance.random() * 100, 2),
    "double": lambda chance, _kind, _name, _now: round(chance.random() * 100, 2),
    "string": _text,
    "bytes": _bytes,
    "enum": lambda chance, kind, _name, _now: chance.choice(kind["symbols"]),
    "fixed": lambda chance, kind, _name, _now: chance.randbytes(kind["size"]),
}
