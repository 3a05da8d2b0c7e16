"""Apply the numbered SQL files of schemas/sql, each once, one runner at a time."""

import hashlib
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import psycopg
from pydantic import SecretStr

from control.database import Connection, connect, has_timescale
from control.db.lease import Lease, lease
from control.errors import RefusedError, SluiceError
from control.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "schemas" / "sql"

# 0003_events.sql for both servers, or 0003_events.timescale.sql and 0003_events.plain.sql.
_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)(?:\.(timescale|plain))?\.sql$")

# For the one statement that cannot run in a transaction. It must be harmless when repeated: a
# kill -9 in it leaves nobody to say whether it was done.
_OUTSIDE = "-- sluice: no-transaction"

_BOOTSTRAP = """
    CREATE SCHEMA IF NOT EXISTS control;
    CREATE TABLE IF NOT EXISTS control.migrations (
        number integer PRIMARY KEY,
        file text NOT NULL,
        checksum text NOT NULL,
        state text NOT NULL CHECK (state IN ('running', 'applied')),
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        applied_by text NOT NULL,
        duration_ms integer
    );
    CREATE TABLE IF NOT EXISTS control.leases (
        name text PRIMARY KEY,
        token text NOT NULL,
        holder text NOT NULL,
        taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz NOT NULL
    );
"""


class Branch(Enum):
    """Which of two files a server gets where they differ."""

    TIMESCALE = "timescale"
    PLAIN = "plain"


@dataclass(frozen=True)
class Migration:
    """One SQL file."""

    number: int
    file: str
    sql: str

    @property
    def checksum(self) -> str:
        """The file's fingerprint."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        """Tell whether the file runs in a transaction."""
        return not self.sql.startswith(_OUTSIDE)


@dataclass(frozen=True)
class Applied:
    """What the database remembers of a migration."""

    number: int
    file: str
    checksum: str
    state: str
    applied_at: str


@dataclass(frozen=True)
class Entry:
    """One line of `sluice db status`."""

    number: int
    file: str
    state: str
    applied_at: str | None
    problem: str


def read_migrations(branch: Branch, folder: Path = FOLDER) -> list[Migration]:
    """Return the files for one kind of server in order, or say what is wrong with the folder."""
    chosen: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.match(path.name)
        if match is None:
            message = f"{path.name} is not a migration's name."
            raise SluiceError(message, "Use NNNN_name.sql, .timescale.sql or .plain.sql.")
        number, kind = int(match[1]), match[3]
        if kind is not None and kind != branch.value:
            continue
        if number in chosen:
            first = chosen[number].file
            message = f"Two migrations have the number {number}: {first}, {path.name}."
            raise SluiceError(message, "Give the newer one the next free number.")
        chosen[number] = Migration(number, path.name, path.read_text(encoding="utf-8"))
    return [chosen[number] for number in sorted(chosen)]


def branch_of(connection: Connection) -> Branch:
    """Tell which branch a server gets."""
    return Branch.TIMESCALE if has_timescale(connection) else Branch.PLAIN


def migrate(
    dsn: SecretStr, folder: Path = FOLDER, report: Callable[[Migration], None] | None = None
) -> list[Migration]:
    """Apply what is not applied yet; return it."""
    with connect(dsn) as connection:
        _enable_timescale(connection)
        branch = branch_of(connection)
        migrations = read_migrations(branch, folder)
        _bootstrap(connection)
        if not _open(migrations, read_applied(connection)):
            return []
        with lease(connection, "migrate") as held:
            # Read again: somebody may have migrated between the look and the lease.
            open_now = _open(migrations, read_applied(connection))
            for migration in open_now:
                if report is not None:
                    report(migration)
                _apply(connection, held, migration)
            return open_now


def status(dsn: SecretStr, folder: Path = FOLDER) -> tuple[Branch, list[Entry]]:
    """Compare files and database without changing either."""
    with connect(dsn) as connection:
        branch = branch_of(connection)
        migrations = read_migrations(branch, folder)
        there = connection.execute("SELECT to_regclass('control.migrations')").fetchone()
        applied = read_applied(connection) if there and there[0] else []
    known = {entry.number: entry for entry in applied}
    entries = [_entry(migration, known.get(migration.number)) for migration in migrations]
    numbers = {migration.number for migration in migrations}
    entries += [
        Entry(entry.number, entry.file, entry.state, entry.applied_at, "its file is missing here")
        for entry in applied if entry.number not in numbers
    ]
    return branch, sorted(entries, key=lambda entry: entry.number)


def _entry(migration: Migration, applied: Applied | None) -> Entry:
    if applied is None:
        return Entry(migration.number, migration.file, "open", None, "")
    problem = "" if applied.checksum == migration.checksum else "edited after it was applied"
    return Entry(migration.number, migration.file, applied.state, applied.applied_at, problem)


def read_applied(connection: Connection) -> list[Applied]:
    """Return what the database remembers."""
    rows = connection.execute(
        "SELECT number, file, checksum, state, applied_at FROM control.migrations ORDER BY number"
    ).fetchall()
    return [Applied(number, file, checksum, state, at.isoformat())
            for number, file, checksum, state, at in rows]


def _enable_timescale(connection: Connection) -> None:
    # Installed on the server but not in this database: the usual state of a new database.
    row = connection.execute(
        "SELECT installed_version FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).fetchone()
    if row is not None and row[0] is None:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except psycopg.errors.InsufficientPrivilege as error:
            message = "The server has TimescaleDB, but this account may not enable it."
            hint = "Let an administrator run CREATE EXTENSION timescaledb in this database."
            raise SluiceError(message, hint) from error


def _bootstrap(connection: Connection) -> None:
    try:
        with connection.transaction():
            connection.execute(_BOOTSTRAP)
    except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject):
        # Two first runs at once: IF NOT EXISTS looks before the other one has committed. Its
        # tables are there now.
        return


def _open(migrations: list[Migration], applied: list[Applied]) -> list[Migration]:
    known = {entry.number: entry for entry in applied}
    by_number = {migration.number: migration for migration in migrations}
    for entry in applied:
        migration = by_number.get(entry.number)
        if migration is None:
            message = f"The database has migration {entry.file}, which is not here: it is ahead."
            raise RefusedError(message, "Update this checkout to the version that made it.")
        # One that failed outside a transaction is 'running' still, and is there to be mended.
        if entry.state == "applied" and entry.checksum != migration.checksum:
            message = f"{migration.file} was edited after it was applied on {entry.applied_at}."
            hint = "Take the edit back (`git log` shows it) and put the change into a new file."
            raise RefusedError(message, hint)
    done = {entry.number for entry in known.values() if entry.state == "applied"}
    newest = max(done, default=0)
    todo = [migration for migration in migrations if migration.number not in done]
    for migration in todo:
        if migration.number < newest:
            message = f"{migration.file} comes before {newest:04d}, which is applied already."
            raise RefusedError(message, "Give the new file the next free number.")
    return todo


def _apply(connection: Connection, held: Lease, migration: Migration) -> None:
    begun = time.monotonic()
    try:
        if migration.in_transaction:
            with connection.transaction():
                held.renew(connection)
                _note_start(connection, migration)
                connection.execute(migration.sql.encode())
                _note_end(connection, migration, begun)
        else:
            # The intention is written down first: a kill in the statement leaves 'running'.
            held.renew(connection)
            _note_start(connection, migration)
            connection.execute(migration.sql.encode())
            _note_end(connection, migration, begun)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        message = f"{migration.file} failed: {str(error).strip()}"
        undone = "Nothing of it was kept." if migration.in_transaction else (
            "It ran outside a transaction: look at what it left."
        )
        raise SluiceError(message, f"{undone} Mend the file and migrate again.") from error


def _note_start(connection: Connection, migration: Migration) -> None:
    connection.execute(
        "INSERT INTO control.migrations (number, file, checksum, state, applied_by)"
        " VALUES (%s, %s, %s, 'running', %s)"
        " ON CONFLICT (number) DO UPDATE SET file = excluded.file,"
        " checksum = excluded.checksum, applied_by = excluded.applied_by",
        [migration.number, migration.file, migration.checksum,
         f"{os.environ.get('USER', 'unknown')}@{socket.gethostname()}"],
    )


def _note_end(connection: Connection, migration: Migration, begun: float) -> None:
    connection.execute(
        "UPDATE control.migrations SET state = 'applied', applied_at = clock_timestamp(),"
        " duration_ms = %s WHERE number = %s",
        [round((time.monotonic() - begun) * 1000), migration.number],
    )
