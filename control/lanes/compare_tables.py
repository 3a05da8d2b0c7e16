"""Compare the rows that two runs of a job have written."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from control.database import Connection
from control.lanes.findings import OutputFindings
from control.lanes.tables import LIVE, SHADOW, Twins, bounds, find_twins, listed
from control.reconcile.findings import SAMPLES, Kind
from control.reconcile.span import Span
from jobs.lane import Lane
from jobs.spec import Output


def compare_tables(
    connection: Connection, output: Output, lane: Lane, span: Span
) -> OutputFindings:
    """Let the server join both tables; all questions are about one state of them."""
    twins = find_twins(connection, output, lane)
    only_live, only_shadow = twins.missing(SHADOW), twins.missing(LIVE)
    different = sql.SQL("NOT {} AND NOT {} AND {}").format(
        sql.SQL("({})").format(only_live), sql.SQL("({})").format(only_shadow),
        twins.changed(output.of_the_run),
    )
    kinds = (only_live, only_shadow, different)
    values = bounds(span)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        query = sql.SQL("SELECT count({}), count({}), {} FROM {}").format(
            listed(twins.key[:1], LIVE), listed(twins.key[:1], SHADOW),
            sql.SQL(", ").join(
                sql.SQL("count(*) FILTER (WHERE {})").format(kind) for kind in kinds
            ),
            _joined(twins),
        )
        row = connection.execute(query, values).fetchone()
        live, shadow, *counts = row or (0,) * 5
        samples = [
            _sample(connection, twins, kind, values) if count else []
            for kind, count in zip(kinds, counts, strict=True)
        ]
    return OutputFindings(
        output.title, live, shadow, *map(Kind, counts, samples)
    )


def _joined(twins: Twins) -> sql.Composable:
    # Limited on each side first: a condition on the joined rows would drop what one side lacks.
    sides = [
        sql.SQL("(SELECT {} FROM {} AS {} WHERE {}) AS {}").format(
            listed(twins.columns), twins.table(side), side, twins.in_span(side), side
        ) for side in (LIVE, SHADOW)
    ]
    return sql.SQL("{} FULL JOIN {} ON {}").format(*sides, twins.same_key)


def _sample(
    connection: Connection, twins: Twins, kind: sql.Composable, values: Mapping[str, str]
) -> list[str]:
    key = sql.SQL(", ").join(
        sql.SQL("coalesce({}, {})").format(listed([name], LIVE), listed([name], SHADOW))
        for name in twins.key
    )
    query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}").format(
        key, _joined(twins), kind, key, sql.Literal(SAMPLES)
    )
    return [_title(row) for row in connection.execute(query, values)]


def _title(key: Sequence[Any]) -> str:
    return " ".join(
        f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(value, datetime)
        else str(value) for value in key
    )
