"""The table of events and its rollups: shape, late events, compression, retention, who may read."""

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from control.db.maintenance import Task, maintain
from control.db.migrations import migrate
from tests.kit.databases import PLAIN, SERVERS, TIMESCALE, fresh_database
from tests.kit.rows import COLUMNS, Row, insert
from tests.kit.stack import TestStack

NOW = datetime.now(UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROLLUPS = ("rollups_1m", "rollups_1h")


class Tables:
    """A migrated database, and what the tests do with it."""

    def __init__(self, dsn: SecretStr, connection: psycopg.Connection[Any]) -> None:
        self.dsn = dsn
        self.connection = connection

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what a statement answers."""
        return self.connection.execute(statement.encode(), values or None).fetchall()

    def one(self, statement: str, *values: Any) -> Any:
        """Return the one value that a statement answers."""
        ((value,),) = self.ask(statement, *values)
        return value

    def insert(self, *rows: Row) -> None:
        """Add events."""
        insert(self.connection, rows)

    def maintain(self) -> list[Task]:
        """Do what a scheduler would; nothing may fail."""
        done = maintain(self.dsn, lambda _: None)
        assert not [task for task in done if task.result.startswith("failed")]
        return done


def _open(server: str, name: str) -> Iterator[Tables]:
    with (
        fresh_database(server, name) as dsn,
        psycopg.connect(dsn.get_secret_value(), autocommit=True) as connection,
    ):
        connection.execute("SET TIME ZONE 'UTC'")
        yield Tables(dsn, connection)


@pytest.fixture(scope="module")
def plain() -> Iterator[Tables]:
    yield from _open(PLAIN, "tables")


@pytest.fixture(scope="module")
def timescale() -> Iterator[Tables]:
    yield from _open(TIMESCALE, "tables")


@pytest.fixture(params=SERVERS)
def tables(request: pytest.FixtureRequest) -> Tables:
    found: Tables = request.getfixturevalue("plain" if request.param == PLAIN else "timescale")
    return found


def event(tenant: str, at: datetime, **values: Any) -> Row:
    """Make an event of a tenant that no other test uses."""
    common = {"event_id": uuid.uuid4(), "occurred_at": at, "tenant_id": tenant,
              "received_at": at, "cleaned_at": at, "correlation_id": uuid.uuid4()}
    return Row(**{**common, **values})


SHAPE = """
    SELECT a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           col_description(a.attrelid, a.attnum), obj_description(a.attrelid)
    FROM pg_attribute AS a
    WHERE a.attrelid = %s::regclass AND a.attnum > 0
    ORDER BY a.attnum
"""


@pytest.mark.parametrize("name", ["events", *ROLLUPS])
def test_both_servers_have_the_same_columns(plain: Tables, timescale: Tables, name: str) -> None:
    assert plain.ask(SHAPE, name) == timescale.ask(SHAPE, name)


def test_the_columns_are_those_of_the_sinks_copy(tables: Tables) -> None:
    shape = tables.ask(SHAPE, "events")
    assert [line[1] for line in shape] == list(COLUMNS)
    assert not [line for line in shape if not line[4] or not line[5]]


def test_no_index_but_those_that_are_used(plain: Tables, timescale: Tables) -> None:
    query = "SELECT indexname FROM pg_indexes WHERE tablename = 'events' AND schemaname = 'public'"
    common = {"events_pkey", "events_of_a_tenant", "events_of_a_flow", "events_by_cleaning"}
    assert {name for (name,) in timescale.ask(query)} == common
    assert {name for (name,) in plain.ask(query)} == {*common, "events_by_time"}


@pytest.mark.parametrize("view", ROLLUPS)
@pytest.mark.parametrize("age", [0 * HOUR, 3 * HOUR], ids=["real-time", "refreshed"])
def test_rollups_keep_currencies_apart_and_count_users_exactly(
    tables: Tables, view: str, age: timedelta
) -> None:
    at = datetime.now(UTC).replace(second=0, microsecond=0) - age
    tenant, bucket = f"{view}-{age}", at if view == "rollups_1m" else at.replace(minute=0)
    paid = {"event_type": "transaction.captured"}
    tables.insert(
        event(tenant, at, user_id="a", amount=Decimal("1.10"), currency="EUR", **paid),
        event(tenant, at + timedelta(seconds=59), user_id="a", amount=Decimal("2.20"),
              currency="EUR", is_error=True, duration_ms=1.5, **paid),
        event(tenant, at, user_id="b", amount=Decimal("0.0001"), currency="EUR", duration_ms=2.5,
              **paid),
        event(tenant, at, user_id="a", amount=Decimal(7), currency="USD", **paid),
        event(tenant, at),
    )
    expected = [
        (bucket, "transaction.captured", "EUR", 3, 1, Decimal("3.3001"), Decimal("2.2"), 2, 2, 4.0),
        (bucket, "transaction.captured", "USD", 1, 0, Decimal(7), Decimal(7), 1, 0, None),
        (bucket, "user.logged_in", None, 1, 0, None, None, 0, 0, None),
    ]
    query = (f"SELECT bucket, event_type, currency, events, errors, amount_sum, amount_max, users,"
             f" duration_count, duration_ms_sum FROM {view} WHERE tenant_id = %s ORDER BY 2, 3")
    if age:
        tables.maintain()
    assert tables.ask(query, tenant) == expected


def _counted(tables: Tables, tenant: str) -> list[int]:
    return [tables.one(f"SELECT coalesce(sum(events), 0) FROM {view} WHERE tenant_id = %s", tenant)
            for view in ROLLUPS]


@pytest.mark.parametrize("age", [5 * HOUR, 3 * DAY, 28 * DAY], ids=str)
def test_a_late_event_is_counted_after_the_next_maintenance(tables: Tables, age: timedelta) -> None:
    tenant = f"late-{age}"
    tables.insert(event(tenant, NOW - age), event(tenant, NOW - 4 * HOUR))
    tables.maintain()
    assert _counted(tables, tenant) == [2, 2]
    tables.insert(event(tenant, NOW - age))
    tables.maintain()
    assert _counted(tables, tenant) == [3, 3]


def test_a_new_event_is_counted_at_once(tables: Tables) -> None:
    tables.maintain()
    tables.insert(event("new", datetime.now(UTC)))
    assert _counted(tables, "new") == [1, 1]


def test_retention_drops_events_and_keeps_what_was_counted(timescale: Tables) -> None:
    kept, old = NOW - 28 * DAY, NOW - 40 * DAY
    timescale.insert(event("old", old), event("old", kept))
    for view in ROLLUPS:
        # What the policy did when the event was new.
        timescale.connection.execute(
            f"CALL refresh_continuous_aggregate('{view}', '{old - DAY}', '{old + DAY}')".encode())
    timescale.maintain()
    left = timescale.ask("SELECT occurred_at FROM events WHERE tenant_id = 'old'")
    assert left == [(kept,)]
    assert _counted(timescale, "old") == [2, 2]
    # One that comes this late is gone with the next maintenance, and empties no bucket.
    timescale.insert(event("old", old))
    timescale.maintain()
    timescale.maintain()
    assert timescale.ask("SELECT occurred_at FROM events WHERE tenant_id = 'old'") == left
    assert _counted(timescale, "old") == [2, 2]


def test_retention_on_plain_postgresql(plain: Tables) -> None:
    plain.insert(event("old", NOW - 40 * DAY), event("old", NOW - 29 * DAY))
    tasks = plain.maintain()
    assert [(task.name, task.table) for task in tasks] == [("retention", "public.events")]
    assert plain.ask("SELECT occurred_at FROM events WHERE tenant_id = 'old'") == [
        (NOW - 29 * DAY,)]


def test_maintenance_runs_every_policy(timescale: Tables) -> None:
    done = [(task.name, task.table) for task in timescale.maintain()]
    assert sorted(done) == sorted([
        ("policy_refresh_continuous_aggregate", "rollups_1m"),
        ("policy_refresh_continuous_aggregate", "rollups_1h"),
        ("policy_retention", "events"),
        ("policy_retention", "rollups_1m"),
        ("policy_retention", "rollups_1h"),
        ("policy_compression", "events"),
        # Only because this server has no autovacuum.
        ("vacuum", "events"),
    ])
    # What retention drops is counted before; what is dropped is not compressed first.
    names = [name for name, _ in done]
    assert names == sorted(names, key=[
        "policy_refresh_continuous_aggregate", "policy_retention", "policy_compression",
        "vacuum"].index)


def test_a_refresh_never_reaches_what_retention_has_dropped(timescale: Tables) -> None:
    windows = timescale.ask(
        "SELECT (config ->> 'start_offset')::interval FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_refresh_continuous_aggregate'")
    kept = timescale.one(
        "SELECT (config ->> 'drop_after')::interval FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_retention' AND hypertable_name = 'events'")
    assert len(windows) == len(ROLLUPS)
    # A day between them: a refresh that takes hours began with an older `now`.
    assert all(window + DAY <= kept for (window,) in windows)


def _compressed(tables: Tables, at: datetime) -> bool:
    return bool(tables.one(
        "SELECT is_compressed FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'events' AND range_start <= %s AND range_end > %s", at, at))


MERGE = sql.SQL(
    "INSERT INTO events SELECT * FROM stage"
    " ON CONFLICT (event_id, occurred_at) DO UPDATE SET cleaned_at = excluded.cleaned_at,"
    " status = excluded.status WHERE events.cleaned_at < excluded.cleaned_at"
)


def test_a_compressed_chunk_still_takes_events(timescale: Tables) -> None:
    at = NOW - 10 * DAY
    rows = [event("packed", at + timedelta(seconds=n), status="first") for n in range(2_000)]
    timescale.insert(*rows)
    timescale.maintain()
    assert _compressed(timescale, at)
    newer = replace(rows[7], cleaned_at=NOW, status="second")
    older = replace(rows[8], cleaned_at=at - DAY, status="second")
    added = event("packed", at, status="second")
    with timescale.connection.transaction():
        timescale.connection.execute("CREATE TEMP TABLE stage (LIKE events) ON COMMIT DROP")
        insert(timescale.connection, [newer, older, added], "stage")
        timescale.connection.execute(MERGE)
    changed = timescale.ask(
        "SELECT event_id FROM events WHERE tenant_id = 'packed' AND status = 'second'")
    assert {name for (name,) in changed} == {newer.event_id, added.event_id}
    assert timescale.one("SELECT count(*) FROM events WHERE tenant_id = 'packed'") == 2_001


def test_compression_is_worth_it(timescale: Tables) -> None:
    before, after = timescale.ask(
        "SELECT sum(before_compression_total_bytes), sum(after_compression_total_bytes)"
        " FROM chunk_compression_stats('events') WHERE compression_status = 'Compressed'")[0]
    assert before > 2 * after


ALLOWED = ("events", *ROLLUPS)
FORBIDDEN = (
    "SELECT * FROM control.migrations", "SELECT * FROM control.leases",
    "DELETE FROM events", "UPDATE events SET text = ''", "TRUNCATE events",
    "CREATE TABLE public.mine (n int)",
)


def _as_analyst(tables: Tables, statement: str) -> None:
    with tables.connection.transaction():
        # Of this transaction alone: on the embedded TimescaleDB all clients share one session.
        tables.connection.execute("SET LOCAL ROLE sluice_analyst")
        tables.connection.execute(statement.encode())


@pytest.mark.parametrize("name", ALLOWED)
def test_an_analyst_may_read(tables: Tables, name: str) -> None:
    _as_analyst(tables, f"SELECT * FROM {name} LIMIT 1")


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_an_analyst_may_do_nothing_else(tables: Tables, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _as_analyst(tables, statement)


def test_an_analyst_is_a_role_nobody_can_log_in_as(tables: Tables) -> None:
    assert tables.ask("SELECT rolcanlogin, rolsuper FROM pg_roles"
                      " WHERE rolname = 'sluice_analyst'") == [(False, False)]


def test_databases_of_one_server_migrate_at_once(small_stack: Callable[..., TestStack]) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "postgres")
    dsn = stack.settings().timescale_dsn.get_secret_value()
    names = [f"one_{number}" for number in range(4)]
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    failed: list[BaseException] = []

    def run(name: str) -> None:
        try:
            migrate(SecretStr(f"{dsn.rpartition('/')[0]}/{name}"))
        except Exception as error:  # noqa: BLE001 - a thread's failure is the test's
            failed.append(error)

    threads = [threading.Thread(target=run, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
