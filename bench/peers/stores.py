"""The stores as a good engineer writes to them by hand: COPY and merge, and `_bulk`."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import fastavro
import orjson
import psycopg
from elasticsearch import Elasticsearch

_HEADER = 5


class Store(Protocol):
    """Writes batches of decoded events."""

    def write(self, events: Sequence[dict[str, Any]]) -> None:
        """Write a batch; it is durable when this returns."""


class Decoder:
    """Decodes canonical records; they are all of one schema here."""

    def __init__(self, schema_file: str) -> None:
        self._schema = fastavro.parse_schema(json.loads(Path(schema_file).read_text("utf-8")))
        self.columns = [str(field["name"]) for field in self._schema["fields"]]

    def decode(self, value: bytes) -> dict[str, Any]:
        """Return one event."""
        stream = BytesIO(value)
        stream.seek(_HEADER)
        event: dict[str, Any] = fastavro.schemaless_reader(stream, self._schema, None)
        return event


class TableStore:
    """COPY as text into a temporary table, then one merge."""

    def __init__(self, dsn: str, columns: Sequence[str]) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._columns = columns
        names = ", ".join(columns)
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns
                            if name not in {"event_id", "occurred_at"})
        self._connection.execute(
            "CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS"
            f" AS SELECT {names} FROM events WITH NO DATA".encode()
        )
        self._copy = f"COPY staging ({names}) FROM STDIN".encode()
        self._merge = (
            f"INSERT INTO events ({names}) SELECT DISTINCT ON (event_id, occurred_at) {names}"
            " FROM staging ORDER BY event_id, occurred_at, cleaned_at DESC"
            f" ON CONFLICT (event_id, occurred_at) DO UPDATE SET {changes}"
            " WHERE events.cleaned_at < excluded.cleaned_at"
        ).encode()

    def write(self, events: Sequence[dict[str, Any]]) -> None:
        """Write a batch; it is durable when this returns."""
        columns = self._columns
        text = "".join([
            "\t".join([_field(event[name]) for name in columns]) + "\n" for event in events
        ])
        with self._connection.transaction(), self._connection.cursor() as cursor:
            with cursor.copy(self._copy) as copy:
                copy.write(text)
            cursor.execute(self._merge)


def _field(value: Any) -> str:
    if value is None:
        return "\\N"
    if not isinstance(value, str | dict):
        return str(value)
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if "\\" in text or "\n" in text or "\t" in text or "\r" in text:
        return (text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
                .replace("\r", "\\r"))
    return text


class IndexStore:
    """One `_bulk` request a batch."""

    def __init__(self, url: str) -> None:
        self._client = Elasticsearch(url, request_timeout=60, max_retries=5, retry_on_timeout=True)

    def write(self, events: Sequence[dict[str, Any]]) -> None:
        """Write a batch; it is durable when this returns."""
        lines = []
        for event in events:
            lines.append(b'{"index":{"_index":"events-%s","_id":"%s"}}' % (
                event["occurred_at"].strftime("%Y.%m.%d").encode(), str(event["event_id"]).encode()
            ))
            lines.append(orjson.dumps(
                {key: value for key, value in event.items() if value is not None}, default=_json,
                option=orjson.OPT_PASSTHROUGH_DATETIME,
            ))
        lines.append(b"")
        answer = self._client.perform_request(
            "POST", "/_bulk?filter_path=errors", body=b"\n".join(lines), headers={
                "content-type": "application/x-ndjson", "accept": "application/json",
            },
        )
        if answer["errors"]:
            sys.exit("some documents were not taken")


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return float(value) if isinstance(value, Decimal) else str(value) if isinstance(
        value, UUID) else value


class Meter:
    """Decodes and writes batches of one process, and says at the end how fast that was."""

    def __init__(self, kind: str, address: str, schema_file: str) -> None:
        self._decoder = Decoder(schema_file)
        self._store: Store = (
            TableStore(address, self._decoder.columns) if kind == "timescale"
            else IndexStore(address)
        )
        self._events, self._begun, self._ended, self._cpu = 0, 0.0, 0.0, 0.0

    def write(self, values: Iterable[bytes]) -> None:
        """Decode a batch and write it."""
        self._begun = self._begun or time.time()
        decode = self._decoder.decode
        events = [decode(value) for value in values]
        self._store.write(events)
        self._events += len(events)
        self._ended = time.time()
        self._cpu = time.process_time()

    def report(self) -> None:
        """Print what was done, on one line."""
        sys.stdout.write(json.dumps({
            "events": self._events, "begun": self._begun, "ended": self._ended, "cpu_s": self._cpu,
        }) + "\n")
        sys.stdout.flush()
