"""Lanes for the tests: what the live job and a shadow of it would have written."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from control.search import ask, search
from jobs.catalogue import find_job
from jobs.lane import LIVE, Into, Lane
from jobs.sink_plans import search_plan
from jobs.spec import JobSpec
from tests.kit.sinks import Clean, CleanMaker
from tests.kit.stack import TestStack
from udfs.copy_rows import compile_row
from udfs.timescale_writer import DatabaseAddress, TimescaleWriter

# The span that is compared and exchanged.
FIRST = datetime(2026, 11, 20, 12, tzinfo=UTC)
END = FIRST + timedelta(hours=1)


def micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


SPAN = micros(FIRST), micros(END)


def job(name: str) -> JobSpec:
    """Return a job of the catalogue."""
    spec = find_job(name)
    assert spec is not None
    return spec


def shadow(name: str) -> Lane:
    """Return a lane with outputs of its own."""
    return Lane(name, Into.SHADOW)


def silent(_: str) -> None:
    """Say nothing."""


def cleaned(maker: CleanMaker, records: Iterable[Clean], first: datetime = FIRST) -> list[Clean]:
    """Return records as if they had been cleaned from a time on, a millisecond apart."""
    return [
        maker.changed(record, cleaned_at=first + timedelta(milliseconds=number))
        for number, record in enumerate(records)
    ]


class Rows:
    """A live table and its shadow."""

    def __init__(self, dsn: SecretStr, maker: CleanMaker, lane: Lane) -> None:
        self._dsn = dsn.get_secret_value()
        self._lane = lane
        self._columns = tuple(str(field["name"]) for field in maker.schema["fields"])
        self._row = compile_row(maker.schema, self._columns)

    def clear(self) -> None:
        """Delete all rows of both."""
        with psycopg.connect(self._dsn) as connection:
            for lane in (LIVE, self._lane):
                connection.execute(sql.SQL("DELETE FROM {}").format(
                    sql.Identifier(*lane.table("events"))
                ))

    @contextmanager
    def writer(self, lane: Lane = LIVE) -> Iterator[TimescaleWriter]:
        """Yield the writer that a job has."""
        writer = TimescaleWriter(
            DatabaseAddress(self._dsn), self._columns, lane.table("events")
        )
        try:
            yield writer
        finally:
            writer.close()

    def compiled(self, records: Iterable[Clean]) -> list[bytes]:
        """Return records as rows for a writer."""
        return [self._row(record.value) for record in records]

    def write(self, live: Sequence[Clean], shadow: Sequence[Clean]) -> None:
        """Write records as the jobs do."""
        for lane, records in ((LIVE, live), (self._lane, shadow)):
            with self.writer(lane) as writer:
                writer.write(self.compiled(records))

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the rows of both by id."""
        return self._held(LIVE), self._held(self._lane)

    def _held(self, lane: Lane) -> dict[str, Any]:
        with psycopg.connect(self._dsn, row_factory=dict_row) as connection:
            found = connection.execute(sql.SQL("SELECT * FROM {}").format(
                sql.Identifier(*lane.table("events"))
            )).fetchall()
        return {str(row["event_id"]): row for row in found}


class Documents:
    """Live indices and their shadow."""

    def __init__(self, stack: TestStack, lane: Lane) -> None:
        self._settings = stack.settings()
        self._url = self._settings.elasticsearch_url
        self._lane = lane

    def write(self, live: Sequence[Clean], shadow: Sequence[Clean]) -> None:
        """Write records as the jobs do."""
        for lane, records in ((LIVE, live), (self._lane, shadow)):
            if records:
                done = search_plan(self._settings, lane).open_sink().write(
                    [record.value for record in records]
                )
                assert done.refused == 0

    def state(self, records: Iterable[Clean]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the documents that both have of some events, by id."""
        ids = sorted({record.id for record in records})
        return self._held(LIVE, ids), self._held(self._lane, ids)

    def _held(self, lane: Lane, ids: list[str]) -> dict[str, Any]:
        pattern = f"/{lane.indices('events')}*.*"
        ask("POST", self._url, f"{pattern}/_refresh")
        answer = search(self._url, f"{pattern}/_search", {
            "size": 10_000, "query": {"ids": {"values": ids}},
        })
        hits = answer["hits"]["hits"]
        found = {hit["_id"]: hit["_source"] for hit in hits}
        assert len(found) == len(hits), "a document stands twice"
        return found
