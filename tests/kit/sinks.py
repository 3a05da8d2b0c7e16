"""Canonical records for the sinks, without `ingest`; what the stores then hold of them."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from itertools import islice
from typing import Any
from uuid import UUID

import fastavro
import psycopg
from kafka import KafkaProducer
from psycopg.rows import dict_row

from control.events.encoder import Encoder
from control.events.generator import Generator
from control.events.traffic import Shares, Traffic
from control.registry import RegistryClient
from control.search import ask, search
from control.settings import Settings, load_settings
from tests.kit.outcome import CLEAN, decode
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until
from udfs.contract import Contract, Schema, full_name, load_contract
from udfs.ingestion import Cleaned, Ingestion, IngestRules, SchemaIds
from udfs.wire import frame


@dataclass(frozen=True)
class Clean:
    """One canonical record, and what it says."""

    value: bytes
    fields: dict[str, Any]

    @property
    def id(self) -> str:
        """The event's id."""
        return str(self.fields["event_id"])


# Where no registry is asked, any will do.
_NO_IDS = SchemaIds(1, 2)


def _registered(settings: Settings, contract: Contract) -> SchemaIds:
    with RegistryClient(settings.registry_url) as registry:
        clean, letter = (registry.id_of(full_name(schema), schema)
                         for schema in (contract.clean, contract.dead_letter))
    assert clean is not None, "the stack has not registered its schemas"
    assert letter is not None, "the stack has not registered its schemas"
    return SchemaIds(clean, letter)


class CleanMaker:
    """Makes canonical records as `ingest` would, under the ids that a stack's registry gave."""

    def __init__(self, stack: TestStack | None = None) -> None:
        settings = load_settings() if stack is None else stack.settings()
        self._contract: Contract = load_contract(settings.schemas)
        self._ids = _NO_IDS if stack is None else _registered(settings, self._contract)

    @property
    def schema(self) -> Schema:
        """The schema of the records."""
        return self._contract.clean

    def make(self, count: int, seed: int, late: float = 0.0) -> list[Clean]:
        """Return records of the present."""
        known: dict[int, Schema] = {}

        def register(schema: Schema) -> int:
            known[len(known) + 1] = schema
            return len(known)

        traffic = Traffic(
            Generator(self._contract, seed, 20), Encoder(self._contract, register),
            Shares(late=late), seed,
        )
        ingestion = Ingestion(
            self._contract, self._ids, known.__getitem__, IngestRules(), "events.raw"
        )
        records = []
        for message in islice(traffic.messages(), count):
            now = time.time_ns() // 1000
            result = ingestion.process(message.value, now, now, lambda _: None)
            assert isinstance(result, Cleaned)
            records.append(Clean(result.message, decode(CLEAN, result.message)))
        return records

    def changed(self, record: Clean, **fields: Any) -> Clean:
        """Return a record with other values."""
        body = {**record.fields, **fields}
        out = BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(self._contract.clean), body)
        return Clean(frame(self._ids.clean, out.getvalue()), body)


def send_clean(stack: TestStack, records: Iterable[Clean]) -> None:
    """Send records to events.clean, keyed as ingest keys them."""
    producer = KafkaProducer(
        bootstrap_servers=stack.settings().kafka_bootstrap, acks="all", linger_ms=20,
        enable_idempotence=True, delivery_timeout_ms=120_000,
    )
    try:
        waiting = [
            producer.send(CLEAN, key=str(record.fields["tenant_id"]).encode(), value=record.value)
            for record in records
        ]
        for answer in waiting:
            answer.get(timeout=130)
    finally:
        producer.close(timeout=10)


def rows(stack: TestStack, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of these events by id; one that stands twice is an error."""
    dsn = stack.settings().timescale_dsn.get_secret_value()
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        found = connection.execute(
            "SELECT * FROM public.events WHERE event_id = ANY(%s::uuid[])", [list(ids)]
        ).fetchall()
    by_id = {str(row["event_id"]): row for row in found}
    assert len(by_id) == len(found), "an event stands twice in the table"
    return by_id


def documents(stack: TestStack, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the documents of these events by id; one that stands twice is an error."""
    found: dict[str, dict[str, Any]] = {}
    for hit in _hits(stack, ids, source=True):
        assert hit["_id"] not in found, "an event stands twice in the indices"
        found[hit["_id"]] = {**hit["_source"], "_index": hit["_index"]}
    return found


def _hits(stack: TestStack, ids: Sequence[str], *, source: bool) -> Iterator[dict[str, Any]]:
    url = stack.settings().elasticsearch_url
    ask("POST", url, "/events/_refresh?ignore_unavailable=true")
    for start in range(0, len(ids), 5_000):
        answer = search(url, "/events/_search?ignore_unavailable=true", {
            "size": 10_000, "_source": source,
            "query": {"ids": {"values": list(ids[start:start + 5_000])}},
        })
        yield from answer["hits"]["hits"]


def row_ids(stack: TestStack, ids: Collection[str]) -> set[str]:
    """Return which of these events are in the table; one that stands twice is an error."""
    dsn = stack.settings().timescale_dsn.get_secret_value()
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT event_id::text FROM public.events WHERE event_id = ANY(%s::uuid[])",
            [list(ids)],
        ).fetchall()
    assert len(found) == len(set(found)), "an event stands twice in the table"
    return {row[0] for row in found}


def document_ids(stack: TestStack, ids: Collection[str]) -> set[str]:
    """Return which of these events are in the indices; one that stands twice is an error."""
    found = [hit["_id"] for hit in _hits(stack, list(ids), source=False)]
    assert len(found) == len(set(found)), "an event stands twice in the indices"
    return set(found)


def await_rows(
    stack: TestStack, records: Sequence[Clean], seconds: float = 120
) -> dict[str, dict[str, Any]]:
    """Wait until the table holds all these events, and no other state of them; return the rows."""
    ids = [record.id for record in records]

    def complete() -> dict[str, dict[str, Any]] | None:
        found = rows(stack, ids)
        return found if len(found) == len(set(ids)) else None

    found = wait_until(f"{len(ids)} rows in the table", complete, seconds, pause=1)
    for record in records:
        assert found[record.id] == record.fields
    return found


def await_documents(
    stack: TestStack, records: Sequence[Clean], seconds: float = 120
) -> dict[str, dict[str, Any]]:
    """Wait until the indices hold all these events, as they are; return the documents."""
    ids = [record.id for record in records]

    def complete() -> dict[str, dict[str, Any]] | None:
        found = documents(stack, ids)
        return found if len(found) == len(set(ids)) else None

    found = wait_until(f"{len(ids)} documents", complete, seconds, pause=1)
    for record in records:
        wanted = expected_document(record)
        there = {key: value for key, value in found[record.id].items()
                 if key != "_index" and not key.startswith("digest_")}
        assert there == wanted
    return found


def expected_document(record: Clean) -> dict[str, Any]:
    """Return a record as Elasticsearch must have it."""
    return {name: _in_json(value) for name, value in record.fields.items() if value is not None}


def _in_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"
    if isinstance(value, UUID):
        return str(value)
    return float(value) if isinstance(value, Decimal) else value
