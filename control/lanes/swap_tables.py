"""Exchange the rows of a span between a live table and its shadow, in one transaction."""

import os

from psycopg import sql

from control.database import Connection, has_timescale
from control.lanes.findings import SwapFindings
from control.lanes.tables import LIVE, SHADOW, Twins, bounds, find_twins, listed, same
from control.reconcile.span import Span
from jobs.lane import Lane
from jobs.spec import Output

# Whoever waits behind us for the table waits as long at most; a sink tries again by itself.
_LOCK_WAIT = "30s"


def swap_tables(connection: Connection, output: Output, lane: Lane, span: Span) -> SwapFindings:
    """Exchange what differs, all or nothing; the same once more brings back what was.

    Only rows of the span move. A key of which one side has a row from outside of the span, a newer
    one above all, stays as it is on both sides. Readers of the live table see the rows before or
    the rows after. Writers of it wait: one lock on the whole table is taken before anything else,
    and a writer that waits for it holds nothing that is needed here, so neither can deadlock, and
    no row can come between looking and moving.
    """
    twins = find_twins(connection, output, lane)
    values = bounds(span)
    # The WASM server shares temporary tables between all connections.
    own = f"{os.getpid()}_{id(connection):x}"
    leaving, coming = (
        sql.Identifier("pg_temp", f"swap_{name}_{own}") for name in ("leaving", "coming")
    )
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
        if has_timescale(connection):
            # Compressed rows that move are unpacked, however many there are.
            connection.execute(
                "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"
            )
        for table in (twins.live, twins.shadow):
            connection.execute(
                sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table)
            )
        connection.execute(_chosen(twins, leaving, LIVE, SHADOW), values)
        connection.execute(_chosen(twins, coming, SHADOW, LIVE), values)
        held_back = sum(
            _count(connection, _outside(twins, inside, outside), values)
            for inside, outside in ((LIVE, SHADOW), (SHADOW, LIVE))
        )
        _delete(connection, twins, twins.live, leaving)
        _delete(connection, twins, twins.shadow, coming)
        to_live = _insert(connection, twins, twins.live, coming)
        to_shadow = _insert(connection, twins, twins.shadow, leaving)
    return SwapFindings(output.title, to_live, to_shadow, held_back)


def _chosen(
    twins: Twins, into: sql.Identifier, side: sql.Identifier, other: sql.Identifier
) -> sql.Composed:
    """Put aside the rows of a side that the other lacks, or has differently in the span."""
    return sql.SQL(
        "CREATE TEMPORARY TABLE {into} ON COMMIT DROP AS SELECT {columns} FROM {tables}"
        " WHERE {of_the_span} AND ({lacking} OR ({other_too} AND {changed}))"
    ).format(
        into=into, columns=listed(twins.columns, side), tables=_joined(twins, side, other, "LEFT"),
        of_the_span=twins.in_span(side), lacking=twins.missing(other),
        other_too=twins.in_span(other), changed=twins.changed(),
    )


def _outside(twins: Twins, inside: sql.Identifier, outside: sql.Identifier) -> sql.Composed:
    return sql.SQL("SELECT count(*) FROM {} WHERE {} AND {} IS NOT TRUE").format(
        _joined(twins, inside, outside, "INNER"), twins.in_span(inside), twins.in_span(outside)
    )


def _joined(
    twins: Twins, one: sql.Identifier, other: sql.Identifier, how: str
) -> sql.Composed:
    return sql.SQL("{} AS {} {} JOIN {} AS {} ON {}").format(
        twins.table(one), one, sql.SQL(how), twins.table(other), other, twins.same_key
    )


def _count(connection: Connection, query: sql.Composed, values: dict[str, str]) -> int:
    row = connection.execute(query, values).fetchone()
    return 0 if row is None else int(row[0])


def _delete(
    connection: Connection, twins: Twins, table: sql.Identifier, rows: sql.Identifier
) -> None:
    held, moving = sql.Identifier("held"), sql.Identifier("moving")
    conditions = [same(held, moving, twins.key)]
    for name in twins.key_times:
        column = sql.Identifier(name)
        ends = connection.execute(
            sql.SQL("SELECT min({0}), max({0}) FROM {1}").format(column, rows)
        ).fetchone()
        if ends is None or ends[0] is None:
            return
        # A hypertable leaves out, and unpacks, whole chunks by constants only.
        conditions.append(
            sql.SQL("{}.{} BETWEEN {} AND {}").format(held, column, *map(sql.Literal, ends))
        )
    connection.execute(sql.SQL("DELETE FROM {} AS {} USING {} AS {} WHERE {}").format(
        table, held, rows, moving, sql.SQL(" AND ").join(conditions)
    ))


def _insert(
    connection: Connection, twins: Twins, table: sql.Identifier, rows: sql.Identifier
) -> int:
    columns = listed(twins.columns)
    return connection.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY {}").format(
            table, columns, columns, rows, listed(twins.key)
        )
    ).rowcount
