"""Rows of the table `events`: made up for the tests, with everything that queries ask for."""

import uuid
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

TENANTS = ("tenant-001", "tenant-002", "tenant-003", "tenant-004")
_SERVICES = ("accounts", "billing", "checkout", "ledger", "search")
_FLOWS, _LONE = 900, 1_500

_NO_FLOW = uuid.UUID(int=0)

# Nothing happens then, so that there are gaps to fill.
_NIGHT = range(2, 5)


@dataclass(frozen=True)
class Row:
    """One event; its fields are the table's columns in their order."""

    event_id: uuid.UUID
    occurred_at: datetime
    event_type: str = "user.logged_in"
    domain: str = "user"
    schema_version: int = 1
    received_at: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    cleaned_at: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    tenant_id: str = TENANTS[0]
    tenant_name: str | None = None
    tenant_tier: str | None = None
    tenant_region: str | None = None
    entity_id: str = "entity"
    correlation_id: uuid.UUID = _NO_FLOW
    causation_id: uuid.UUID | None = None
    source: str = "accounts"
    trace_context: str | None = None
    user_id: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    status: str | None = None
    severity: str | None = None
    service: str | None = None
    duration_ms: float | None = None
    country: str | None = None
    is_error: bool = False
    text: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


COLUMNS = tuple(column.name for column in fields(Row))


def insert(
    connection: psycopg.Connection[Any], rows: Iterable[Row], table: str = "events"
) -> None:
    """Write rows by COPY."""
    # Without names: a row's fields are in the order of the table's columns.
    statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            *values, attributes = astuple(row)
            copy.write_row((*values, Jsonb(attributes)))


class Story:
    """Nine days of events that end at a full hour; most of them in the last day and a week ago."""

    def __init__(self, end: datetime, seed: int) -> None:
        self._chance = Random(seed)
        self.end = end
        self.rows: list[Row] = []
        for _ in range(_FLOWS):
            self._payment()
        for _ in range(_LONE):
            self._login()
            self._log_line()
        # As they arrive: in the order in which ingest let them pass.
        self.rows.sort(key=lambda row: row.cleaned_at)

    def _id(self) -> uuid.UUID:
        return uuid.UUID(int=self._chance.getrandbits(128), version=4)

    def _seconds(self, least: float, most: float) -> timedelta:
        return timedelta(microseconds=round(self._chance.uniform(least, most) * 1_000_000))

    def _moment(self) -> datetime:
        while True:
            days = self._chance.choices((0, 7, self._chance.randrange(1, 9)), (6, 2, 2))[0]
            moment = self.end - timedelta(days=days) - self._seconds(0, 86_400)
            if moment.hour not in _NIGHT:
                return moment

    def _add(self, occurred_at: datetime, **values: Any) -> Row | None:
        if occurred_at >= self.end:
            return None
        # One in twenty is late; some by a minute exactly, which is not late yet.
        delay = self._chance.choices(
            (self._seconds(0.05, 2), self._seconds(61, 7_200), timedelta(minutes=1)), (94, 5, 1)
        )[0]
        received = occurred_at + delay
        row = Row(
            event_id=self._id(), occurred_at=occurred_at, received_at=received,
            cleaned_at=received + self._seconds(0.005, 0.05), **values,
        )
        self.rows.append(row)
        return row

    def _payment(self) -> None:
        chance = self._chance
        common: dict[str, Any] = {
            "domain": "transaction", "source": "payments", "correlation_id": self._id(),
            "tenant_id": chance.choices(TENANTS, (8, 4, 2, 1))[0],
            "entity_id": f"order-{chance.randrange(10**6)}",
            "user_id": f"user-{chance.randrange(60)}",
            "amount": Decimal(chance.randrange(100, 50_000)) / 100,
            "currency": chance.choices(("EUR", "USD", "GBP"), (5, 3, 2))[0],
            "attributes": {"channel": chance.choice(("web", "app"))},
        }
        # Some flows have lost the event that began them.
        cause = self._id() if chance.random() < 0.05 else None
        at = self._moment()

        def step(action: str, least: float, most: float, **more: Any) -> bool:
            nonlocal cause, at
            at += self._seconds(least, most)
            row = self._add(at, event_type=f"transaction.{action}", causation_id=cause,
                            status=action.upper(), **{**common, **more})
            if row is not None:
                cause = row.event_id
            return row is not None

        if not (step("created", 0, 1) and step("authorised", 1, 60)) or chance.random() < 0.05:
            return
        if chance.random() < 0.2:
            if step("failed", 1, 300, is_error=True):
                for _ in range(2):
                    self._explanation(at, common, cause)
        elif step("captured", 5, 1_800) and chance.random() < 0.15:
            step("refunded", 600, 7_200)

    def _explanation(self, at: datetime, common: dict[str, Any], cause: uuid.UUID | None) -> None:
        self._add(
            at + self._seconds(0.001, 1), event_type="system.logged", domain="system",
            tenant_id=common["tenant_id"], correlation_id=common["correlation_id"],
            causation_id=cause, source="ledger", service="ledger", severity="ERROR",
            is_error=True, duration_ms=self._chance.lognormvariate(5, 1),
            text=f"payment of {common['entity_id']} was declined",
            attributes={"http_status": self._chance.choice(("402", "500", "504"))},
        )

    def _login(self) -> None:
        chance = self._chance
        self._add(
            self._moment(), event_type=chance.choice(("user.logged_in", "user.logged_out")),
            tenant_id=chance.choices(TENANTS, (8, 4, 2, 1))[0], correlation_id=self._id(),
            entity_id="session", user_id=f"user-{chance.randrange(60)}",
            country=chance.choice(("DE", "FR", None)),
            attributes={"device": chance.choice(("phone", "desktop"))},
        )

    def _log_line(self) -> None:
        chance = self._chance
        service = chance.choice(_SERVICES)
        action = chance.choices(("logged", "started", "deployed"), (8, 1, 1))[0]
        error = action == "logged" and chance.random() < 0.1
        self._add(
            self._moment(), event_type=f"system.{action}", domain="system",
            tenant_id=chance.choices(TENANTS, (8, 4, 2, 1))[0], correlation_id=self._id(),
            entity_id=service, source="agent", service=service,
            severity="ERROR" if error else "INFO", is_error=error,
            duration_ms=None if action == "started" else chance.lognormvariate(3, 1),
            attributes={"http_status": "500" if error else "200"} if action == "logged" else {},
        )
