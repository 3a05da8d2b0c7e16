"""Messages as a line, as a page, and as JSON."""

from datetime import UTC, datetime
from typing import Any

from control.events.decoding import Decoded
from control.events.reader import Record

_SHOWN_BYTES = 24
_JSON_BYTES = 64
_LONGEST = 60

# They come first in a line, or tell a person who skims nothing.
_ENVELOPE = frozenset({
    "event_id", "event_type", "occurred_at", "tenant_id", "entity_id", "correlation_id",
    "causation_id", "source", "trace_context", "domain", "schema_version", "received_at",
    "cleaned_at", "tenant_name", "tenant_tier", "tenant_region", "attributes", "is_error",
})
_LETTER = frozenset({
    "failed_at", "reason", "tenant_id", "event_id", "payload", "source_topic", "source_time",
})


def line(record: Record, decoded: Decoded) -> str:
    """Return one line for a person."""
    fields = decoded.fields
    if fields is None:
        what = decoded.record or "message"
        return (
            f"{_moment(record)}  undecodable {what}: {printable(decoded.problem or '')}"
            f"  {hexadecimal(record.value, _SHOWN_BYTES)}"
        )
    if "event_type" in fields:
        attributes = fields.get("attributes") or {}
        rest = {name: value for name, value in fields.items() if name not in _ENVELOPE}
        parts = [
            _time(fields["occurred_at"]), fields["event_type"], fields["tenant_id"],
            fields["entity_id"], pairs({**rest, **attributes}),
        ]
    elif "reason" in fields and "payload" in fields:
        rest = {name: value for name, value in fields.items() if name not in _LETTER}
        parts = [
            _time(fields["failed_at"]), f"dead letter: {fields['reason']}",
            fields["tenant_id"] or "-", fields["event_id"] or "-", pairs(rest),
            hexadecimal(fields["payload"], _SHOWN_BYTES),
        ]
    else:
        parts = [_moment(record), decoded.record or "", pairs(fields)]
    return "  ".join(printable(str(part)) for part in parts if part != "")


def page(record: Record, decoded: Decoded) -> str:
    """Return a whole message for a person: a line for each field."""
    fields = decoded.fields or {}
    width = max(map(len, fields), default=0)
    lines = [
        f"Found in {record.topic}, partition {record.partition}, offset {record.offset:,};"
        f" the broker took it at {_moment(record)}.",
        f"{decoded.record}, schema {decoded.schema_id}:",
    ]
    for name, value in fields.items():
        if isinstance(value, dict):
            lines.append(f"  {name}:")
            lines += [
                f"    {printable(str(key))}: {_shown(inner)}" for key, inner in value.items()
            ]
        else:
            lines.append(f"  {name:{width}}  {_shown(value)}".rstrip())
    return "\n".join(lines)


def as_json_object(record: Record, decoded: Decoded) -> dict[str, Any]:
    """Return a message for a machine."""
    content: dict[str, Any] = {
        "topic": record.topic, "partition": record.partition, "offset": record.offset,
        "time": _iso(datetime.fromtimestamp(record.timestamp / 1_000, UTC)),
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "schema_id": decoded.schema_id, "record": decoded.record,
    }
    if decoded.fields is not None:
        return {**content, "fields": _plain(decoded.fields)}
    size = None if record.value is None else len(record.value)
    first = "" if record.value is None else record.value[:_JSON_BYTES].hex()
    return {**content, "problem": decoded.problem, "size": size, "hex": first}


def printable(text: str) -> str:
    """Return text that does nothing to a terminal: control characters are written out."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _moment(record: Record) -> str:
    return _time(datetime.fromtimestamp(record.timestamp / 1_000, UTC))


def _time(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else str(value)


def _iso(value: datetime) -> str:
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")


def pairs(fields: dict[str, Any]) -> str:
    """Return fields in short, without those that say nothing."""
    return " ".join(
        f"{name}={_short(value)}" for name, value in fields.items() if value not in (None, "")
    )


def _short(value: Any) -> str:
    text = _time(value) if isinstance(value, datetime) else str(value)
    if isinstance(value, bytes):
        text = hexadecimal(value, _SHOWN_BYTES)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f'"{text}"' if " " in text else text


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{_time(value)} UTC"
    if isinstance(value, bytes):
        return hexadecimal(value, _JSON_BYTES)
    return printable(str(value))


def hexadecimal(value: bytes | None, most: int) -> str:
    """Return how bytes begin, and how many there are."""
    if not value:
        return ""
    more = "..." if len(value) > most else ""
    return f"{value[:most].hex()}{more} ({len(value):,} bytes)"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str | int | float | bool | None):
        return value
    # An exact amount stays exact as text.
    return str(value)
