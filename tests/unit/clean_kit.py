"""Canonical records of every kind, and their messages."""

from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import fastavro
from hypothesis import strategies as st

from tests.unit.event_kit import Ids, contract, traffic
from udfs.ingestion import Cleaned, Ingestion, IngestRules, SchemaIds
from udfs.wire import frame

_PARSED = fastavro.parse_schema(contract().clean)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
uuids = st.uuids().map(str)
times = st.datetimes(datetime(1969, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def _of(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    kind = field["type"]
    if isinstance(kind, list):
        return st.none() | _of({"type": kind[1]})
    if not isinstance(kind, dict):
        return {
            "string": texts, "int": st.integers(-2**31, 2**31 - 1), "boolean": st.booleans(),
            "double": st.floats(allow_nan=False),
        }[kind]
    if kind["type"] == "map":
        return st.dictionaries(texts, texts, max_size=4)
    return {
        "uuid": uuids, "timestamp-micros": times,
        "decimal": st.decimals(-10**15, 10**15, places=4),
    }[kind["logicalType"]]


records = st.fixed_dictionaries({
    str(field["name"]): _of(field) for field in contract().clean["fields"]
})


def message(record: dict[str, Any]) -> bytes:
    """Return a canonical record as a message, written by another library."""
    out = BytesIO()
    fastavro.schemaless_writer(out, _PARSED, record)
    return frame(7, out.getvalue())


def clean_traffic(number: int, ids: Ids) -> list[bytes]:
    """Return canonical records as ingest makes them of generated events."""
    known = contract()
    schemas = SchemaIds(ids.register(known.clean), ids.register(known.dead_letter))
    made = []
    sent_ones = traffic(number, ids=ids)
    ingestion = Ingestion(known, schemas, ids.schemas.__getitem__, IngestRules(), "events.raw")
    for sent in sent_ones:
        result = ingestion.process(sent.value, sent.occurred_at or 0, 5, lambda _: None)
        assert isinstance(result, Cleaned)
        made.append(result.message)
    return made
