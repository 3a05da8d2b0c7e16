"""The table of events, as reconcile sees it."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence

from psycopg import sql

from control.database import Connection, has_timescale
from control.reconcile.event import Event, RowDigest
from control.reconcile.span import Span
from control.reconcile.store import Held
from control.reconcile.tally import PARTS, Bucket, Tally
from jobs.timescale import TimescalePlan
from udfs.contract import Schema

_HOUR_SECONDS = 3600
# Retention may run at any moment between.
_DAY_MICROS = 86_400 * 1_000_000
_MICROS = sql.SQL("(extract(epoch FROM cleaned_at) * 1000000)::bigint")
_HOUR = sql.SQL("floor(extract(epoch FROM occurred_at) / 3600)::bigint")
_PART = sql.SQL("mod(('x' || substr(md5(tenant_id), 1, 2))::bit(8)::int, {})").format(
    sql.Literal(PARTS)
)


class EventsTable:
    """Compares the rows of a table of events, each digest computed from all its columns."""

    name = "timescale"
    title = "TimescaleDB"

    def __init__(self, connection: Connection, clean: Schema, plan: TimescalePlan) -> None:
        self._connection = connection
        self._digest = RowDigest(clean)
        self._plan = plan
        self._table = sql.Identifier(*plan.table)
        self._oldest = _oldest_kept(connection)

    def keeps(self, occurred_at: int) -> bool:
        """Tell whether retention has surely not reached events of this time."""
        return occurred_at >= self._oldest

    def digest(self, event: Event) -> int:
        """Return the digest of the event's row."""
        return self._digest.of(event.fields)

    def tally(self, span: Span) -> Tally:
        """Let the server count and add up."""
        found = Tally()
        query = sql.SQL(
            "SELECT {hour}, {part}, count(*), sum({digest}) FROM {table}"
            " WHERE cleaned_at >= {first} AND cleaned_at < {end} AND occurred_at >= {oldest}"
            " GROUP BY 1, 2"
        ).format(hour=_HOUR, part=_PART, digest=self._digest.in_sql(), **self._bounds(span))
        for hour, part, count, digest in self._connection.execute(query):
            found.add((int(hour), int(part)), int(count), int(digest))
        return found

    def held(self, span: Span, buckets: Collection[Bucket]) -> Iterator[Held]:
        """Yield the rows of some buckets."""
        parts_of: dict[int, list[int]] = {}
        for hour, part in buckets:
            parts_of.setdefault(hour, []).append(part)
        query = sql.SQL(
            "SELECT event_id, {micros}, {digest} FROM {table}"
            " WHERE cleaned_at >= {first} AND cleaned_at < {end}"
            " AND occurred_at >= greatest({oldest}, to_timestamp(%(from)s))"
            " AND occurred_at < to_timestamp(%(to)s) AND {part} = ANY(%(parts)s)"
        ).format(micros=_MICROS, part=_PART, digest=self._digest.in_sql(), **self._bounds(span))
        for hour, parts in sorted(parts_of.items()):
            rows = self._connection.execute(query, {
                "from": hour * _HOUR_SECONDS, "to": (hour + 1) * _HOUR_SECONDS, "parts": parts,
            })
            for name, cleaned_at, digest in rows:
                yield Held(str(name), int(cleaned_at), int(digest))

    def find(self, ids: Sequence[str]) -> Iterable[Held]:
        """Return the rows of these events."""
        query = sql.SQL(
            "SELECT event_id, {micros}, {digest} FROM {table}"
            " WHERE event_id = ANY(%s::uuid[])"
        ).format(table=self._table, micros=_MICROS, digest=self._digest.in_sql())
        for name, cleaned_at, digest in self._connection.execute(query, [list(ids)]):
            yield Held(str(name), int(cleaned_at), int(digest))

    def forget(self, ids: Sequence[str]) -> None:
        """Delete the rows of these events."""
        self._connection.execute(
            sql.SQL("DELETE FROM {} WHERE event_id = ANY(%s::uuid[])").format(self._table),
            [list(ids)],
        )

    def write(self, messages: Sequence[bytes]) -> int:
        """Write rows as the job does."""
        return self._plan.open_sink().write(messages).refused

    def _bounds(self, span: Span) -> dict[str, sql.Composable]:
        moment = "(timestamptz 'epoch' + {} * interval '1 microsecond')"
        return {
            "table": self._table,
            "first": sql.SQL(moment).format(sql.Literal(span.first)),
            "end": sql.SQL(moment).format(sql.Literal(span.end)),
            "oldest": sql.SQL(moment).format(sql.Literal(self._oldest)),
        }


def _oldest_kept(connection: Connection) -> int:
    """Return from when on retention keeps everything, in microseconds."""
    query = (
        "SELECT extract(epoch FROM min((config ->> 'drop_after')::interval))"
        " FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_retention' AND hypertable_name = 'events'"
        if has_timescale(connection) else
        "SELECT extract(epoch FROM keep) FROM control.retention WHERE table_name = 'public.events'"
    )
    row = connection.execute(query).fetchone()
    if row is None or row[0] is None:
        return 0
    return int((time.time() - float(row[0])) * 1e6) + _DAY_MICROS


