"""Migrations and maintenance on both kinds of server: TimescaleDB and plain PostgreSQL."""

import shutil
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from control.db import migrations
from control.db.lease import lease
from control.db.maintenance import Task, maintain
from control.db.migrations import FOLDER, Branch, migrate
from control.errors import RefusedError, SluiceError
from tests.kit.stack import TEST_HOMES, TestStack


@pytest.fixture(scope="module")
def timescale_stack() -> Iterator[TestStack]:
    """Yield a stack with the real TimescaleDB and nothing else."""
    stack = TestStack(TEST_HOMES / "timescale")
    stack.destroy()
    try:
        stack.ok("stack", "up", "--db", "timescale-wasm", "--only", "timescale-wasm")
        yield stack
    finally:
        stack.destroy()


@pytest.fixture(params=["postgres", "timescale"])
def empty(request: pytest.FixtureRequest) -> Iterator[SecretStr]:
    """Yield a database without tables of ours, on each kind of server."""
    if request.param == "postgres":
        stack: TestStack = request.getfixturevalue("stack")
        dsn = stack.settings().timescale_dsn.get_secret_value()
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield SecretStr(dsn.rpartition("/")[0] + f"/{name}")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(
                sql.Identifier(name)))
    else:
        stack = request.getfixturevalue("timescale_stack")
        secret = stack.settings().timescale_dsn
        # It has one database: emptied instead of made anew.
        _drop_ours(secret)
        yield secret
        _drop_ours(secret)


def _drop_ours(dsn: SecretStr) -> None:
    with psycopg.connect(dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS control CASCADE")
        for table in ("made", "readings", "events"):
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(
                sql.Identifier(table)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the real migrations, to add to and to edit."""
    copy = tmp_path / "sql"
    shutil.copytree(FOLDER, copy)
    return copy


def _next(folder: Path) -> int:
    return max(int(path.name[:4]) for path in folder.glob("*.sql")) + 1


def _add(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{_next(folder):04d}_{name}.sql"
    path.write_text(text)
    return path


def _fetch(dsn: SecretStr, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn.get_secret_value()) as connection:
        return connection.execute(query.encode()).fetchall()


def test_all_migrations_apply_once(empty: SecretStr) -> None:
    applied = migrate(empty)
    assert [migration.number for migration in applied] == list(range(1, len(applied) + 1))
    assert migrate(empty) == []
    branch, entries = migrations.status(empty)
    assert {entry.state for entry in entries} == {"applied"}
    assert {entry.problem for entry in entries} == {""}
    has_extension = bool(_fetch(empty, "SELECT 1 FROM pg_extension WHERE extname='timescaledb'"))
    assert branch is (Branch.TIMESCALE if has_extension else Branch.PLAIN)


def test_status_of_an_empty_database_shows_what_is_open(empty: SecretStr) -> None:
    _, entries = migrations.status(empty)
    assert {entry.state for entry in entries} == {"open"}
    assert _fetch(empty, "SELECT to_regnamespace('control')::text") == [(None,)]


def test_an_edited_file_is_refused(empty: SecretStr, folder: Path) -> None:
    migrate(empty, folder)
    edited = sorted(folder.glob("0001*.sql"))[0]
    edited.write_text(edited.read_text() + "-- a harmless comment\n")
    with pytest.raises(RefusedError, match="was edited after it was applied"):
        migrate(empty, folder)
    _, entries = migrations.status(empty, folder)
    assert entries[0].problem == "edited after it was applied"


def test_a_failing_file_leaves_nothing(empty: SecretStr, folder: Path) -> None:
    migrate(empty, folder)
    bad = _add(folder, "bad", "CREATE TABLE made (n int); SELECT 1/0;")
    with pytest.raises(SluiceError, match="division by zero") as caught:
        migrate(empty, folder)
    assert "Nothing of it was kept" in caught.value.hint
    assert _fetch(empty, "SELECT to_regclass('made')::text") == [(None,)]
    bad.write_text("CREATE TABLE made (n int);")
    assert [migration.file for migration in migrate(empty, folder)] == [bad.name]


def test_a_database_that_is_ahead_is_refused(empty: SecretStr, folder: Path) -> None:
    newest = _add(folder, "new", "SELECT 1;")
    migrate(empty, folder)
    newest.unlink()
    with pytest.raises(RefusedError, match="it is ahead"):
        migrate(empty, folder)


def test_a_file_before_an_applied_one_is_refused(empty: SecretStr, folder: Path) -> None:
    skipped = _next(folder)
    (folder / f"{skipped + 1:04d}_later.sql").write_text("SELECT 1;")
    migrate(empty, folder)
    (folder / f"{skipped:04d}_earlier.sql").write_text("SELECT 1;")
    with pytest.raises(RefusedError, match="comes before"):
        migrate(empty, folder)


def test_a_statement_outside_a_transaction(empty: SecretStr, folder: Path) -> None:
    _add(folder, "table", "CREATE TABLE made (n int);")
    # PostgreSQL refuses VACUUM inside a transaction.
    _add(folder, "vacuum", "-- sluice: no-transaction\nVACUUM made;")
    assert len(migrate(empty, folder)) == len(migrations.status(empty, folder)[1])


def test_a_kill_in_a_statement_outside_a_transaction_is_repeated(
    empty: SecretStr, folder: Path
) -> None:
    number = _next(folder)
    _add(folder, "table", "-- sluice: no-transaction\nCREATE TABLE IF NOT EXISTS made (n int);")
    migrate(empty, folder)
    with psycopg.connect(empty.get_secret_value()) as connection:
        # What a kill -9 leaves: the intention, without the end.
        connection.execute(
            "UPDATE control.migrations SET state = 'running' WHERE number = %s", [number]
        )
    assert [migration.number for migration in migrate(empty, folder)] == [number]


def test_two_migrations_at_once_apply_each_file_once(empty: SecretStr, folder: Path) -> None:
    for number in range(5):
        _add(folder, f"step_{number}", f"INSERT INTO made VALUES ({number}); SELECT pg_sleep(0.1);"
             if number else "CREATE TABLE made (n int PRIMARY KEY); INSERT INTO made VALUES (0);")
    applied: list[int] = []
    refused: list[str] = []

    def run() -> None:
        try:
            applied.extend(migration.number for migration in migrate(empty, folder))
        except RefusedError as error:
            refused.append(error.message)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(applied) == len(set(applied)) == len(migrations.read_migrations(
        migrations.status(empty, folder)[0], folder))
    assert all("holds 'migrate'" in message for message in refused)
    assert _fetch(empty, "SELECT count(*) FROM made") == [(5,)]


def test_a_lease_names_its_holder_and_runs_out(empty: SecretStr) -> None:
    migrate(empty)
    with (
        psycopg.connect(empty.get_secret_value(), autocommit=True) as first,
        psycopg.connect(empty.get_secret_value(), autocommit=True) as second,
    ):
        with lease(first, "work", seconds=60):
            with pytest.raises(RefusedError, match=r"pid \d+ holds 'work'"), lease(second, "work"):
                pass
            first.execute("UPDATE control.leases SET expires_at = now() - interval '1 second'")
            with lease(second, "work") as taken:
                taken.renew(second)
        # The first one's end must not give away what is now the second one's.
        with lease(second, "work") as held, pytest.raises(SluiceError, match="somebody else"):
            second.execute("UPDATE control.leases SET token = 'another'")
            held.renew(second)


INSTANTS = (
    datetime(1999, 12, 31, 23, 59, 59, 999999, UTC), datetime(2024, 2, 29, 12, 0, 0, 1, UTC),
    datetime(2026, 11, 21, 3, 47, 5, 123456, UTC), datetime(1970, 1, 1, tzinfo=UTC),
)
WIDTHS = ("1 second", "10 seconds", "1 minute", "15 minutes", "1 hour", "1 day", "1 week",
          "10 days", "1 month", "3 months", "1 year")


def test_time_bucket_is_the_same_on_both(stack: TestStack, timescale_stack: TestStack) -> None:
    def answers(dsn: str) -> list[object]:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            found: list[object] = []
            for width in WIDTHS:
                for instant in INSTANTS:
                    row = connection.execute(
                        "SELECT time_bucket(%(w)s::interval, %(t)s::timestamptz),"
                        " time_bucket(%(w)s::interval, %(t)s::timestamptz::timestamp),"
                        " time_bucket(%(w)s::interval, %(t)s::timestamptz, 'Europe/Berlin')",
                        {"w": width, "t": instant},
                    ).fetchone()
                    found.append((width, instant, row))
            for day in (date(2026, 11, 21), date(1999, 1, 1)):
                found.append(connection.execute(
                    "SELECT time_bucket('1 week'::interval, %s::date)", [day]).fetchone())
            for number in (-7, 0, 5, 12):
                found.append(connection.execute(
                    "SELECT time_bucket(5::bigint, %s::bigint)", [number]).fetchone())
            return found

    timescale = timescale_stack.settings().timescale_dsn
    migrate(timescale)
    plain = answers(stack.settings().timescale_dsn.get_secret_value())
    assert plain == answers(timescale.get_secret_value())


def test_maintain_drops_what_is_too_old(empty: SecretStr, folder: Path) -> None:
    _add(folder, "readings",
         "CREATE TABLE readings (at timestamptz NOT NULL, value int);")
    # Both kinds of policy; each server's branch gets its own file.
    number = _next(folder)
    (folder / f"{number:04d}_policy.plain.sql").write_text(
        "INSERT INTO control.retention VALUES ('readings', 'at', interval '30 days');")
    (folder / f"{number:04d}_policy.timescale.sql").write_text(
        "SELECT create_hypertable('readings', by_range('at', interval '1 day'));"
        "SELECT add_retention_policy('readings', interval '30 days');")
    migrate(empty, folder)
    with psycopg.connect(empty.get_secret_value()) as connection:
        connection.execute(
            "INSERT INTO readings SELECT now() - n * interval '1 day', n"
            " FROM generate_series(0, 99) AS n")
    done: list[Task] = []
    maintain(empty, done.append)
    assert [task.table for task in done if "retention" in task.name].count("readings") == 1
    rows = _fetch(empty, "SELECT count(*), max(value) FROM readings")
    # TimescaleDB drops whole chunks: up to a day more stays.
    assert rows[0][0] in {30, 31, 32}
    assert maintain(empty, done.append)


def test_maintain_before_migrate_says_so(empty: SecretStr) -> None:
    with pytest.raises(SluiceError, match="not been migrated") as caught:
        maintain(empty, lambda _: None)
    assert "sluice db migrate" in caught.value.hint


def test_the_commands(timescale_stack: TestStack) -> None:
    _drop_ours(timescale_stack.settings().timescale_dsn)
    assert timescale_stack.run("db", "status").returncode == 1
    assert "migrations applied" in timescale_stack.ok("db", "migrate")
    assert "Nothing to migrate" in timescale_stack.ok("db", "migrate")
    assert "TimescaleDB" in timescale_stack.ok("db", "status")
    assert timescale_stack.ok("db", "maintain")


def test_an_unreachable_database_is_named_without_its_password(timescale_stack: TestStack) -> None:
    done = timescale_stack.run(
        "db", "migrate", SLUICE_TIMESCALE_DSN="postgresql://me:hush@127.0.0.1:1/nowhere"
    )
    assert done.returncode == 1
    assert "me:***@127.0.0.1:1" in done.stderr
    assert "hush" not in done.stdout + done.stderr
