"""Messages of any topic made readable; what cannot be decoded is told, never raised."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from udfs.contract import Schema, full_name
from udfs.physical import check_usable, parse_physical
from udfs.reasons import RejectedError
from udfs.wire import HEADER_SIZE, MAGIC, schema_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"timestamp-millis": 1_000, "timestamp-micros": 1_000_000}

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Decoded:
    """A message's record; or, without one, why there is none."""

    schema_id: int | None = None
    record: str | None = None
    fields: dict[str, Any] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _Form:
    record: str
    parsed: Any
    # What of a field's value becomes something readable; nothing for most fields.
    conversions: dict[str, Convert]


class Decoding:
    """Decodes by the registry's schemas, each of which is asked for once.

    Logical types are converted here: fastavro's own reader gives up on a UUID that is none, and the
    rest of such an event is what a person wants to see.
    """

    def __init__(self, schema_by_id: Callable[[int], Schema | None]) -> None:
        self._schema_by_id = schema_by_id
        self._forms: dict[int, _Form | str] = {}

    def decode(self, value: bytes | None) -> Decoded:
        """Decode a message's bytes."""
        if value is None:
            return Decoded(problem="no value")
        if not value:
            return Decoded(problem="empty")
        number = schema_id(value)
        if number is None:
            short = len(value) < HEADER_SIZE
            return Decoded(problem="too short" if short else f"first byte is not {MAGIC}")
        form = self._forms.get(number)
        if form is None:
            form = self._forms[number] = self._form(number)
        if isinstance(form, str):
            return Decoded(number, problem=form)
        return _read(value, number, form)

    def _form(self, number: int) -> _Form | str:
        schema = self._schema_by_id(number)
        if schema is None:
            return f"the registry has no schema {number}"
        if schema.get("type") != "record":
            return f"schema {number} is no Avro record"
        try:
            check_usable(schema)
            parsed = parse_physical(schema)
        except RejectedError as error:
            return f"schema {number} cannot be used: {error.detail}"
        # The registry is anybody's, and fastavro has no common base for its errors.
        except Exception as error:  # noqa: BLE001
            return f"schema {number} cannot be read: {error}"
        conversions = {
            field["name"]: convert for field in schema["fields"]
            if (convert := _conversion(field["type"])) is not None
        }
        return _Form(full_name(schema), parsed, conversions)


def _read(value: bytes, number: int, form: _Form) -> Decoded:
    stream = BytesIO(value)
    stream.seek(HEADER_SIZE)
    try:
        fields = schemaless_reader(stream, form.parsed, None)
    # The bytes are anybody's: whatever they make the decoder raise is told.
    except Exception as error:  # noqa: BLE001
        return Decoded(number, form.record, problem=f"{type(error).__name__}: {error}")
    left = len(value) - stream.tell()
    if left:
        return Decoded(number, form.record, problem=f"{left:,} bytes are left over")
    for name, convert in form.conversions.items():
        if fields[name] is not None:
            fields[name] = convert(fields[name])
    return Decoded(number, form.record, fields)


def _conversion(kind: Any) -> Convert | None:
    if isinstance(kind, list):
        found = [convert for branch in kind if (convert := _conversion(branch)) is not None]
        # A union of two such types is nobody's; its value stays as it is.
        return found[0] if len(found) == 1 else None
    if not isinstance(kind, dict):
        return None
    logical = kind.get("logicalType")
    if logical in _PER_SECOND:
        return _time(_PER_SECOND[logical])
    if logical == "decimal" and kind["type"] == "bytes":
        return _amount(int(kind.get("scale", 0)))
    return _conversion(kind["type"])


def _time(per_second: int) -> Convert:
    def convert(value: Any) -> Any:
        try:
            return _EPOCH + timedelta(microseconds=value * 1_000_000 // per_second)
        except (OverflowError, TypeError):
            # Not in the years 1 to 9999: the number says more than an error.
            return value

    return convert


def _amount(scale: int) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, bytes):
            return value
        return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-scale)

    return convert
