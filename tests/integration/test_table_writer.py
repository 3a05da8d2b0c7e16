"""Rows written as the job timescale writes them, into both kinds of server, without Flink."""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from pydantic import SecretStr

from tests.kit.databases import SERVERS, fresh_database
from tests.kit.sinks import Clean, CleanMaker
from udfs.copy_rows import compile_row
from udfs.halving import write_by_halves
from udfs.patience import AwayError
from udfs.reasons import RejectedError
from udfs.timescale_writer import DatabaseAddress, TimescaleWriter

MAKER = CleanMaker()
COLUMNS = tuple(str(field["name"]) for field in MAKER.schema["fields"])
ROW = compile_row(MAKER.schema, COLUMNS)


@pytest.fixture(scope="module", params=SERVERS)
def dsn(request: pytest.FixtureRequest) -> Iterator[SecretStr]:
    with fresh_database(request.param, "writer") as address:
        yield address


@pytest.fixture
def writer(dsn: SecretStr) -> Iterator[TimescaleWriter]:
    with _writing(dsn) as made:
        yield made


@contextmanager
def _writing(dsn: SecretStr) -> Iterator[TimescaleWriter]:
    made = TimescaleWriter(DatabaseAddress(dsn.get_secret_value()), COLUMNS)
    try:
        yield made
    finally:
        made.close()


def _rows(records: Sequence[Clean]) -> list[bytes]:
    return [ROW(record.value) for record in records]


def _read(dsn: SecretStr, records: Sequence[Clean]) -> dict[str, dict[str, Any]]:
    with psycopg.connect(dsn.get_secret_value(), row_factory=dict_row) as connection:
        found = connection.execute(
            "SELECT * FROM public.events WHERE event_id = ANY(%s::uuid[])",
            [[record.id for record in records]],
        ).fetchall()
    assert len({row["event_id"] for row in found}) == len(found)
    return {str(row["event_id"]): row for row in found}


def _newer(records: Sequence[Clean], source: str, seconds: int) -> list[Clean]:
    return [
        MAKER.changed(record, source=source,
                      cleaned_at=record.fields["cleaned_at"] + timedelta(seconds=seconds))
        for record in records
    ]


@contextmanager
def _trigger(dsn: SecretStr, body: str) -> Iterator[None]:
    """Let the table do something with each row."""
    with psycopg.connect(dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.test_row() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN {body} RETURN new; END $$".encode()
        )
        connection.execute("CREATE TRIGGER test_row BEFORE INSERT ON public.events"
                           " FOR EACH ROW EXECUTE FUNCTION public.test_row()")
        try:
            yield
        finally:
            connection.execute("DROP FUNCTION public.test_row CASCADE")


def test_rows_are_read_back_as_they_were_written(dsn: SecretStr, writer: TimescaleWriter) -> None:
    records = MAKER.make(2_000, seed=1, late=0.1)
    writer.write(_rows(records))
    found = _read(dsn, records)
    assert found == {record.id: record.fields for record in records}


def test_of_two_copies_the_later_one_counts(dsn: SecretStr, writer: TimescaleWriter) -> None:
    records = MAKER.make(300, seed=2)
    newer = _newer(records, "later", 5)
    mixed = [*records, *newer]
    random.Random(2).shuffle(mixed)
    writer.write(_rows(mixed))
    writer.write(_rows(records))
    assert _read(dsn, records) == {record.id: record.fields for record in newer}


def test_two_writers_of_the_same_events_end_with_the_newest(dsn: SecretStr) -> None:
    records = MAKER.make(600, seed=3)
    versions = [_newer(records, f"version {number}", number) for number in range(12)]
    failed: list[BaseException] = []

    def write(seed: int) -> None:
        chance = random.Random(seed)
        try:
            with _writing(dsn) as writer:
                for version in chance.sample(versions, len(versions)):
                    writer.write(_rows(chance.sample(version, len(version))))
        # Told to the test's own thread.
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in (31, 32, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert _read(dsn, records) == {record.id: record.fields for record in versions[-1]}


def test_what_the_table_refuses_is_found_and_the_rest_is_written(
    dsn: SecretStr, writer: TimescaleWriter
) -> None:
    records = MAKER.make(800, seed=4)
    bad = {5, 6, 400, 799}
    records = [MAKER.changed(record, source="refuse me") if place in bad else record
               for place, record in enumerate(records)]
    rows = _rows(records)
    body = "IF new.source = 'refuse me' THEN RAISE EXCEPTION 'not this one'; END IF;"
    with _trigger(dsn, body):
        refused = dict(write_by_halves(
            range(len(rows)), lambda numbers: writer.write(rows[number] for number in numbers)
        ))
    assert set(refused) == bad
    assert all("not this one" in str(error.detail) for error in refused.values())
    assert len(_read(dsn, records)) == len(records) - len(bad)


# Deadlock, serialisation failure, disk full, too many connections, read-only, shutting down.
@pytest.mark.parametrize("state", ["40P01", "40001", "53100", "53300", "25006", "57P01"])
def test_what_is_about_the_server_is_no_refusal(dsn: SecretStr, state: str) -> None:
    # The same seed makes the same ids, at another time.
    records = MAKER.make(3, seed=int(state, 36))
    with _writing(dsn) as writer:
        with (
            _trigger(dsn, f"RAISE EXCEPTION 'not now' USING ERRCODE = '{state}';"),
            pytest.raises(AwayError, match="not now"),
        ):
            writer.write(_rows(records))
        writer.write(_rows(records))
    assert len(_read(dsn, records)) == len(records)


@pytest.mark.parametrize("state", ["22001", "23514", "44000", "54000"])
def test_what_is_about_a_row_is_a_refusal(
    dsn: SecretStr, writer: TimescaleWriter, state: str
) -> None:
    with (
        _trigger(dsn, f"RAISE EXCEPTION 'not this' USING ERRCODE = '{state}';"),
        pytest.raises(RejectedError, match="not this"),
    ):
        writer.write(_rows(MAKER.make(1, seed=6)))
