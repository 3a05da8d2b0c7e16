"""What the queries of docs/queries.md must answer, computed from the rows without SQL."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import astuple
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeVar

from tests.kit.rows import Row, Story

Answer = list[tuple[Any, ...]]
Key = TypeVar("Key", bound=Hashable)

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Asked:
    """The rows and the parameters that the queries are asked with."""

    attribute = "http_status"
    currency = "EUR"
    tenant = "tenant-001"

    def __init__(self, story: Story) -> None:
        self.rows = story.rows
        # Two hours are left after the span: what lies there must not be counted.
        self.end = story.end - 2 * HOUR
        self.start = self.end - DAY
        # A long flow that lies wholly in the span, and whose beginning is lost.
        flows = grouped(self.rows, lambda row: row.correlation_id)
        self.flow = max(
            (rows for rows in flows.values()
             if all(self.start <= row.occurred_at < self.end for row in rows)),
            key=lambda rows: (self._is_torn(rows), len(rows), rows[0].correlation_id),
        )
        self.event = self.flow[0]

    @staticmethod
    def _is_torn(rows: list[Row]) -> bool:
        causes = {row.causation_id for row in rows} - {None}
        return not causes <= {row.event_id for row in rows}

    def parameters(self) -> dict[str, str]:
        """Return the page's variables."""
        return {
            "tenant": self.tenant, "currency": self.currency, "attribute": self.attribute,
            "from": self.start.isoformat(), "to": self.end.isoformat(),
            "correlation": str(self.event.correlation_id), "event": str(self.event.event_id),
        }

    def span(self, start: datetime | None = None, end: datetime | None = None) -> list[Row]:
        """Return the rows between two times, by default those that are asked for."""
        start, end = start or self.start, end or self.end
        return [row for row in self.rows if start <= row.occurred_at < end]

    def of_tenant(self) -> list[Row]:
        """Return the tenant's rows in the span."""
        return [row for row in self.span() if row.tenant_id == self.tenant]


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def rounded(number: Decimal | int, divisor: Decimal | int, places: int) -> Decimal:
    return (Decimal(number) / divisor).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def floor(moment: datetime, width: timedelta) -> datetime:
    return moment - timedelta(seconds=moment.timestamp() % width.total_seconds())


def steps(start: datetime, end: datetime, width: timedelta) -> Iterator[datetime]:
    while start < end:
        yield start
        start += width


def errors(rows: Iterable[Row]) -> int:
    return sum(row.is_error for row in rows)


def total(rows: Iterable[Row]) -> Decimal:
    return sum((row.amount for row in rows if row.amount is not None), Decimal(0))


def of_type(rows: Iterable[Row], *types: str) -> list[Row]:
    return [row for row in rows if row.event_type in types]


def error_rate(asked: Asked) -> Answer:
    minutes = grouped(asked.of_tenant(), lambda row: floor(row.occurred_at, MINUTE))
    return [
        (minute, len(rows), failed, rounded(100 * failed, len(rows), 2) if rows else None)
        for minute in steps(asked.start, asked.end, MINUTE)
        for rows in [minutes.get(minute, [])] for failed in [errors(rows)]
    ]


def error_rate_carried(asked: Asked) -> Answer:
    answer: Answer = []
    known: Decimal | None = None
    for minute, events, _, percent in error_rate(asked):
        known = percent if percent is not None else known
        answer.append((minute, events, known))
    return answer


def latest(asked: Asked) -> Answer:
    rows = sorted(asked.of_tenant(), key=lambda row: row.event_id)
    rows.sort(key=lambda row: row.occurred_at, reverse=True)
    return [(row.occurred_at, row.event_type, row.entity_id, row.status, row.amount, row.currency,
             row.is_error) for row in rows[:50]]


def spend(asked: Asked) -> Answer:
    week = timedelta(hours=168)
    hours = grouped(
        [row for row in of_type(asked.rows, "transaction.captured")
         if row.tenant_id == asked.tenant and row.currency == asked.currency],
        lambda row: floor(row.occurred_at, HOUR),
    )
    answer: Answer = []
    for hour in steps(asked.start, asked.end, HOUR):
        now, past = total(hours.get(hour, [])), total(hours.get(hour - week, []))
        answer.append((hour, now, past, rounded(100 * (now - past), past, 1) if past else None))
    return answer


def unique_users(asked: Asked) -> Answer:
    days = grouped(asked.of_tenant(), lambda row: floor(row.occurred_at, DAY))
    return [(day, len({row.user_id for row in rows} - {None}))
            for day, rows in sorted(days.items())]


def attribute_values(asked: Asked) -> Answer:
    name = asked.attribute
    groups = grouped([row for row in asked.of_tenant() if name in row.attributes],
                     lambda row: (row.event_type, row.attributes[name]))
    counts = [(event_type, value, len(rows)) for (event_type, value), rows in groups.items()]
    return sorted(counts, key=lambda line: (-line[2], line))


def top_tenants(asked: Asked) -> Answer:
    everything = asked.span()
    lines = [
        (tenant, len(rows), rounded(100 * len(rows), len(everything), 1), errors(rows))
        for tenant, rows in grouped(everything, lambda row: row.tenant_id).items()
    ]
    return sorted(lines, key=lambda line: (-line[1], line[0]))


def slowest(asked: Asked) -> Answer:
    timed = [row for row in asked.span() if row.duration_ms is not None]
    lines = []
    for (event_type, service), rows in grouped(
        timed, lambda row: (row.event_type, row.service)
    ).items():
        times = [row.duration_ms or 0.0 for row in rows]
        lines.append(
            (event_type, service, len(times), percentile(times, 0.5), percentile(times, 0.95)))
    return sorted(lines, key=lambda line: (-line[4], line[:2]))[:20]


def became_slower(asked: Asked) -> Answer:
    def means(rows: list[Row]) -> dict[str, float]:
        timed = [row for row in rows if row.duration_ms is not None]
        return {kind: sum(row.duration_ms or 0.0 for row in group) / len(group)
                for kind, group in grouped(timed, lambda row: row.event_type).items()}

    now, before = means(asked.span()), means(asked.span(asked.start - DAY, asked.start))
    lines = [(kind, now[kind], before[kind], now[kind] / before[kind])
             for kind in now.keys() & before.keys()]
    return sorted(lines, key=lambda line: (-line[3], line[0]))


def errors_of_the_hour(asked: Asked) -> Answer:
    failed = [row for row in asked.span(asked.end - HOUR) if row.is_error]
    lines = [
        (*key, len(rows), len({row.tenant_id for row in rows}),
         max(row.occurred_at for row in rows))
        for key, rows in grouped(failed, lambda row: (
            row.event_type, row.service or row.source, row.attributes.get("http_status"))).items()
    ]
    # PostgreSQL puts what is missing last.
    return sorted(lines, key=lambda line: (-line[3], line[0], line[1], line[2] or "~"))


def first_failures(asked: Asked) -> Answer:
    failed = grouped([row for row in asked.span() if row.is_error], lambda row: row.tenant_id)
    firsts = [min(rows, key=lambda row: (row.occurred_at, row.event_id))
              for rows in failed.values()]
    return [(row.tenant_id, row.occurred_at, row.event_type, row.correlation_id, row.text)
            for row in sorted(firsts, key=lambda row: (row.occurred_at, row.tenant_id))]


def late(asked: Asked) -> Answer:
    lines: Answer = []
    for source, rows in grouped(asked.span(), lambda row: row.source).items():
        delays = [row.received_at - row.occurred_at for row in rows]
        count = sum(delay > MINUTE for delay in delays)
        lines.append((source, len(rows), count, rounded(100 * count, len(rows), 2), max(delays)))
    return sorted(lines, key=lambda line: (-line[3], line[0]))


def refunds(asked: Asked) -> Answer:
    lines: Answer = []
    for currency, rows in grouped(asked.span(), lambda row: row.currency).items():
        there = of_type(rows, "transaction.captured")
        back = of_type(rows, "transaction.refunded")
        if currency is not None and there:
            lines.append((currency, len(there), len(back), rounded(100 * len(back), len(there), 2),
                          total(there), total(back)))
    return sorted(lines, key=lambda line: (-line[3], line[0]))


def one_event(asked: Asked) -> Answer:
    return [astuple(asked.event)]


def chain(asked: Asked) -> Answer:
    rows = {row.event_id: row for row in asked.flow}

    def depth(row: Row) -> int:
        cause = rows.get(row.causation_id) if row.causation_id else None
        return 0 if cause is None else 1 + depth(cause)

    begin = min(row.occurred_at for row in asked.flow)
    return [
        (depth(row), "  " * depth(row) + row.event_type, row.occurred_at, row.occurred_at - begin,
         row.source, row.status, row.is_error, row.text)
        for row in sorted(asked.flow, key=lambda row: (row.occurred_at, depth(row), row.event_id))
    ]


def created_to_captured(asked: Asked) -> Answer:
    ended = {row.correlation_id: row.occurred_at
             for row in of_type(asked.span(None, asked.end + HOUR), "transaction.captured")}
    lines: Answer = []
    begun = of_type(asked.span(), "transaction.created")
    for tenant, rows in grouped(begun, lambda row: row.tenant_id).items():
        times = [(ended[row.correlation_id] - row.occurred_at).total_seconds()
                 for row in rows if row.correlation_id in ended]
        lines.append((tenant, len(rows), len(times), timedelta(seconds=percentile(times, 0.5)),
                      timedelta(seconds=percentile(times, 0.95))))
    return sorted(lines, key=lambda line: (-line[4], line[0]))


def stuck(asked: Asked) -> Answer:
    ended = {row.correlation_id for row in of_type(
        asked.rows, "transaction.captured", "transaction.failed")}
    return [
        (row.tenant_id, row.correlation_id, row.occurred_at, row.amount, row.currency)
        for row in sorted(asked.span(), key=lambda row: (row.occurred_at, row.event_id))
        if row.event_type == "transaction.created" and row.correlation_id not in ended
    ]


ANSWERS: dict[str, Callable[[Asked], Answer]] = {
    "Error rate per minute": error_rate,
    "Error rate per minute, gaps carried forward": error_rate_carried,
    "The latest events": latest,
    "Spend per hour against the same hour last week": spend,
    "Unique users per day": unique_users,
    "Values of an attribute": attribute_values,
    "Top tenants": top_tenants,
    "Slowest event types": slowest,
    "What became slower": became_slower,
    "Errors of the last hour": errors_of_the_hour,
    "First failure per tenant": first_failures,
    "Late events": late,
    "Refunds per currency": refunds,
    "One event": one_event,
    "The chain of a correlation": chain,
    "From created to captured": created_to_captured,
    "Payments that got stuck": stuck,
}
