"""Do by hand what TimescaleDB's scheduler does, and what plain PostgreSQL has no scheduler for."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql
from pydantic import SecretStr

from control.database import Connection, connect
from control.db.lease import lease
from control.db.migrations import Branch, branch_of
from control.errors import SluiceError

# Small enough that a delete never holds its locks for long.
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class Task:
    """One piece of maintenance that was done."""

    name: str
    table: str
    result: str
    seconds: float


def maintain(dsn: SecretStr, report: Callable[[Task], None]) -> list[Task]:
    """Run every policy once."""
    with connect(dsn) as connection:
        there = connection.execute("SELECT to_regclass('control.retention')").fetchone()
        if there is None or there[0] is None:
            message = "The database has not been migrated yet."
            raise SluiceError(message, "Run `sluice db migrate` first.")
        with lease(connection, "maintain") as held:
            done = []
            timescale = branch_of(connection) is Branch.TIMESCALE
            for step in _timescale_steps(connection) if timescale else _plain_steps(connection):
                held.renew(connection)
                task = step()
                report(task)
                done.append(task)
            return done


# Aggregates read what retention is about to drop, so they are refreshed first; what is dropped need
# not be compressed.
_ORDER = ("policy_refresh_continuous_aggregate", "policy_retention", "policy_compression")

# An aggregate's job has its view's name, on some versions that of the hidden table behind it.
_JOBS = """
    SELECT job_id, proc_name, coalesce(view_name, job.hypertable_name)
    FROM timescaledb_information.jobs AS job
    LEFT JOIN timescaledb_information.continuous_aggregates AS aggregate
           ON aggregate.materialization_hypertable_schema = job.hypertable_schema
          AND aggregate.materialization_hypertable_name = job.hypertable_name
    WHERE proc_schema = '_timescaledb_functions' AND job.hypertable_name IS NOT NULL
    ORDER BY array_position(%s::text[], proc_name::text) NULLS LAST, job_id
"""


def _timescale_steps(connection: Connection) -> list[Callable[[], Task]]:
    rows = connection.execute(_JOBS, [list(_ORDER)]).fetchall()
    steps: list[Callable[[], Task]] = [
        lambda row=row: _run_job(connection, *row) for row in rows  # type: ignore[misc]
    ]
    # The embedded TimescaleDB has no autovacuum, which gathers statistics and BRIN's summaries.
    if connection.execute(
        "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum launcher'"
    ).fetchone() is None:
        tables = connection.execute(
            "SELECT hypertable_schema, hypertable_name FROM timescaledb_information.hypertables"
        ).fetchall()
        steps += [lambda row=row: _vacuum(connection, *row) for row in tables]  # type: ignore[misc]
    return steps


def _vacuum(connection: Connection, schema: str, table: str) -> Task:
    begun = time.monotonic()
    connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(schema, table)))
    return Task("vacuum", table, "done", time.monotonic() - begun)


def _run_job(connection: Connection, job: int, name: str, table: str) -> Task:
    begun = time.monotonic()
    try:
        # CALL takes no parameters over the wire on older servers; the id is an integer of theirs.
        connection.execute(sql.SQL("CALL run_job({})").format(sql.Literal(job)))
        result = "done"
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        # The other policies still have to run; the line says which one did not.
        result = f"failed: {str(error).strip().partition(chr(10))[0]}"
    return Task(name, table, result, time.monotonic() - begun)


def _plain_steps(connection: Connection) -> list[Callable[[], Task]]:
    rows = connection.execute(
        "SELECT table_name, time_column, keep FROM control.retention ORDER BY table_name"
    ).fetchall()
    return [lambda row=row: _expire(connection, *row) for row in rows]  # type: ignore[misc]


def _expire(connection: Connection, table: str, column: str, keep: object) -> Task:
    begun = time.monotonic()
    target = sql.Identifier(*table.split("."))
    # now() and not clock_timestamp(): an index serves only what stays the same in a statement.
    statement = sql.SQL(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY("
        " SELECT ctid FROM {table} WHERE {column} < now() - %s LIMIT %s))"
    ).format(table=target, column=sql.Identifier(column))
    deleted = 0
    while True:
        count = connection.execute(statement, [keep, _BATCH_ROWS]).rowcount
        deleted += count
        if count < _BATCH_ROWS:
            break
    connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(target))
    return Task("retention", table, f"{deleted} rows expired", time.monotonic() - begun)
