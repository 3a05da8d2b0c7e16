"""A live table and its shadow, side by side in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from control.database import Connection
from control.errors import RefusedError
from control.reconcile.span import Span, exact_moment
from jobs.lane import Lane
from jobs.spec import Output

LIVE, SHADOW = sql.Identifier("live"), sql.Identifier("shadow")

# The key's columns come first, in its own order.
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), array_position(i.indkey::int2[], a.attnum)
FROM pg_attribute a
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))
AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY 3 NULLS LAST, a.attnum
"""


@dataclass(frozen=True)
class Twins:
    """Both tables of an output; they have the same columns and the same primary key."""

    live: sql.Identifier
    shadow: sql.Identifier
    columns: tuple[str, ...]
    key: tuple[str, ...]
    # Those of the key that hold times.
    key_times: tuple[str, ...]
    time: str

    def table(self, side: sql.Identifier) -> sql.Identifier:
        """Return the table of a side."""
        return self.live if side == LIVE else self.shadow

    @property
    def same_key(self) -> sql.Composable:
        """The condition under which `live` and `shadow` are the same row."""
        return same(LIVE, SHADOW, self.key)

    def missing(self, side: sql.Identifier) -> sql.Composable:
        """Return the condition under which a joined side has no such row."""
        return sql.SQL("{}.{} IS NULL").format(side, sql.Identifier(self.key[0]))

    def in_span(self, side: sql.Identifier) -> sql.Composable:
        """Return the condition under which a row is of the span; see `bounds`."""
        return sql.SQL(
            "({0} >= %(first)s::timestamptz AND {0} < %(end)s::timestamptz)"
        ).format(sql.SQL("{}.{}").format(side, sql.Identifier(self.time)))

    def changed(self, without: Sequence[str] = ()) -> sql.Composable:
        """Return the condition under which two rows of one key say different things."""
        columns = [name for name in self.columns if name not in without]
        return sql.SQL("ROW({}) IS DISTINCT FROM ROW({})").format(
            listed(columns, LIVE), listed(columns, SHADOW)
        )


def bounds(span: Span) -> dict[str, str]:
    """Return the values of a span's placeholders."""
    return {"first": exact_moment(span.first), "end": exact_moment(span.end)}


def listed(columns: Sequence[str], side: sql.Identifier | None = None) -> sql.Composable:
    """Return columns in a row, those of one side or as they are."""
    return sql.SQL(", ").join(
        sql.Identifier(name) if side is None
        else sql.SQL("{}.{}").format(side, sql.Identifier(name)) for name in columns
    )


def same(one: sql.Identifier, other: sql.Identifier, key: Sequence[str]) -> sql.Composable:
    """Return the condition under which two rows have the same key."""
    return sql.SQL(" AND ").join(
        sql.SQL("{}.{} = {}.{}").format(one, sql.Identifier(name), other, sql.Identifier(name))
        for name in key
    )


def find_twins(connection: Connection, output: Output, lane: Lane) -> Twins:
    """Look at both tables; refused where they cannot be put side by side."""
    live = "public", output.name
    shadow = lane.table(output.name)
    ours, theirs = (connection.execute(_COLUMNS, names).fetchall() for names in (live, shadow))
    for names, found in ((live, ours), (shadow, theirs)):
        if not found:
            message = f"The database has no table {'.'.join(names)}."
            hint = f"It is there once {lane.name or 'a lane'} has run, until it is removed."
            raise RefusedError(message, hint)
    key = tuple(str(name) for name, _, place in ours if place is not None)
    columns = tuple(str(name) for name, _, _ in ours)
    if not key:
        message = f"The table {'.'.join(live)} has no primary key: its rows cannot be told apart."
        raise RefusedError(message, "Give it one.")
    if ours != theirs:
        message = f"{'.'.join(shadow)} has other columns than {'.'.join(live)}."
        hint = "A migration came between: remove the lane and run it again."
        raise RefusedError(message, hint)
    if output.time not in columns:
        message = f"It is not known which column of {'.'.join(live)} tells the time of a row."
        raise RefusedError(message, f"Name it in the spec of the job: `time` of {output.title}.")
    return Twins(
        sql.Identifier(*live), sql.Identifier(*shadow), columns, key,
        tuple(str(name) for name, kind, place in ours
              if place is not None and kind == "timestamp with time zone"),
        output.time,
    )
