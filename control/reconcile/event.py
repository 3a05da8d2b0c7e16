"""A canonical record as reconcile sees it: where it belongs, and what it says in one number."""

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from json.encoder import encode_basestring as _quoted
from typing import Any

from fastavro import schemaless_reader
from psycopg import sql

from control.reconcile.tally import Bucket, bucket_of
from control.registry import RegistryClient
from udfs.cleaner import scale_of
from udfs.contract import Schema
from udfs.physical import parse_physical
from udfs.wire import HEADER_SIZE, schema_id

# What stands for nothing; an empty text is something.
_NOTHING = "~"
_BETWEEN = "\x1f"
# Of an MD5, so many hexadecimal digits fit a bigint.
_DIGITS = 15

Text = Callable[[Any], str]


@dataclass(frozen=True)
class Event:
    """One committed canonical record."""

    id: str
    bucket: Bucket
    occurred_at: int
    cleaned_at: int
    fields: dict[str, Any]
    message: bytes


class EventReader:
    """Decodes canonical records of any registered version."""

    def __init__(self, registry: RegistryClient) -> None:
        self._registry = registry
        self._schemas: dict[int, Any] = {}

    def read(self, message: bytes) -> Event | None:
        """Return a record; None when it cannot be read, as a sink cannot either."""
        number = schema_id(message)
        if number is None:
            return None
        schema = self._schemas.get(number)
        if schema is None:
            found = self._registry.schema_by_id(number)
            if found is None:
                return None
            schema = self._schemas[number] = parse_physical(found)
        stream = BytesIO(message)
        stream.seek(HEADER_SIZE)
        try:
            fields: dict[str, Any] = schemaless_reader(stream, schema, None)
            return Event(
                fields["event_id"], bucket_of(fields["tenant_id"], fields["occurred_at"]),
                fields["occurred_at"], fields["cleaned_at"], fields, message,
            )
        # A sink makes a dead letter of such bytes.
        except Exception:  # noqa: BLE001
            return None


class RowDigest:
    """The same number from a record and, in SQL, from its row: each column's value counts."""

    def __init__(self, clean: Schema) -> None:
        self._columns: dict[str, tuple[str, Text]] = {}
        for field in clean["fields"]:
            kind = field["type"][1] if isinstance(field["type"], list) else field["type"]
            self._columns[str(field["name"])] = _forms(kind)

    def of(self, fields: Mapping[str, Any]) -> int:
        """Return a record's digest."""
        parts = []
        for name, (_, text) in self._columns.items():
            value = fields.get(name)
            parts.append(_NOTHING if value is None else text(value))
        found = hashlib.md5(_BETWEEN.join(parts).encode())  # noqa: S324 - no secret
        return int(found.hexdigest()[:_DIGITS], 16)

    def in_sql(self) -> sql.Composable:
        """Return the same as an SQL expression over the table's columns."""
        columns = sql.SQL(", ").join(
            sql.SQL("coalesce({}, {})").format(
                sql.SQL(form).format(sql.Identifier(name)), sql.Literal(_NOTHING)
            ) for name, (form, _) in self._columns.items()
        )
        return sql.SQL(
            "('x' || substr(md5(concat_ws({}, {})), 1, {}))::bit({})::bigint"
        ).format(sql.Literal(_BETWEEN), columns, sql.Literal(_DIGITS), sql.Literal(_DIGITS * 4))


def _forms(kind: Any) -> tuple[str, Text]:
    """Return how a column's value becomes the same text in SQL and here."""
    if not isinstance(kind, dict):
        forms: dict[str, tuple[str, Text]] = {
            "string": ("{}", str), "int": ("{}::text", str), "long": ("{}::text", str),
            "boolean": ("{}::text", _truth),
            "double": ("encode(float8send({}), 'hex')", _bits),
        }
        return forms[kind]
    if kind["type"] == "map":
        return "{}::text", _as_jsonb
    logical = kind.get("logicalType")
    if logical == "timestamp-micros":
        return "(extract(epoch FROM {}) * 1000000)::bigint::text", str
    if logical == "decimal":
        places = scale_of(kind)
        return "{}::text", lambda value: _decimal(value, places)
    return "{}::text", str


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _bits(value: float) -> str:
    return struct.pack(">d", value).hex()


def _decimal(value: bytes, places: int) -> str:
    number = int.from_bytes(value, "big", signed=True)
    whole, rest = divmod(abs(number), 10**places)
    return f"{'-' if number < 0 else ''}{whole}.{rest:0{places}}"


def _as_jsonb(value: Mapping[str, str]) -> str:
    # PostgreSQL keeps keys by length first, then by their bytes.
    keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
    return "{" + ", ".join(f"{_quoted(key)}: {_quoted(value[key])}" for key in keys) + "}"
