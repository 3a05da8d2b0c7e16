"""A seeded stream of events: the same seed always makes the same events."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

_CURRENCIES = ("EUR", "USD", "GBP", "CHF")
_COUNTRIES = ("DE", "FR", "US", "GB", "IN", "BR", None)
_MERCHANTS = ("bakery", "bookshop", "fuel", "grocer", "hotel", None)
_SERVICES = ("checkout", "gateway", "ledger", "mailer")
_MESSAGES = (
    "request served", "cache miss on a hot key", "connection to the ledger timed out",
    "retry after a conflict", "certificate expires soon",
)
# Few tenants send most of the events, as in life: the k-th sends 1/k of what the first does.
_SKEW = 1.0


@dataclass(frozen=True)
class Event:
    """One event before it is encoded."""

    domain: str
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """What the topic is partitioned by."""
        return str(self.body["tenant_id"])


class Generator:
    """Makes events of all domains; payments come as flows linked by correlation and causation."""

    def __init__(self, seed: int, tenants: int, start: datetime) -> None:
        self._random = random.Random(seed)  # noqa: S311 - made-up events, not secrets
        self._tenants = [f"tenant-{number:04d}" for number in range(1, tenants + 1)]
        self._weights = [1 / rank**_SKEW for rank in range(1, tenants + 1)]
        self._clock = start

    def events(self) -> Iterator[Event]:
        """Yield events for ever."""
        while True:
            kind = self._random.random()
            if kind < 0.5:  # noqa: PLR2004 - half of it payments, as the product is about them
                yield from self._payment()
            elif kind < 0.8:  # noqa: PLR2004
                yield self._user()
            else:
                yield self._system()

    def _uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self._random.getrandbits(128), version=4)

    def _envelope(self, event_type: str, tenant: str, entity: str, source: str) -> dict[str, Any]:
        self._clock += timedelta(microseconds=self._random.randint(50, 2_000))
        return {
            "event_id": self._uuid(), "event_type": event_type, "occurred_at": self._clock,
            "tenant_id": tenant, "entity_id": entity, "correlation_id": self._uuid(),
            "causation_id": None, "source": source, "trace_context": self._trace(),
        }

    def _trace(self) -> str:
        bits = self._random.getrandbits
        return f"00-{bits(128):032x}-{bits(64):016x}-01"

    def _tenant(self) -> str:
        return self._random.choices(self._tenants, self._weights)[0]

    def _user(self) -> Event:
        tenant, user = self._tenant(), f"user-{self._random.randint(1, 5_000):05d}"
        action = self._random.choice(("registered", "logged_in", "logged_out", "updated"))
        return Event("user", {
            **self._envelope(f"user.{action}", tenant, user, "accounts"),
            "user_id": user, "email_domain": self._random.choice(("example.com", "example.org")),
            "country": self._random.choice(_COUNTRIES),
            "device": self._random.choice(("phone", "laptop", None)),
        })

    def _payment(self) -> Iterator[Event]:
        tenant, user = self._tenant(), f"user-{self._random.randint(1, 5_000):05d}"
        order = f"order-{self._random.getrandbits(40):010x}"
        amount = Decimal(self._random.randint(100, 50_000)).scaleb(-2)
        last = self._random.choices(("CAPTURED", "FAILED"), (95, 5))[0]
        cause = correlation = None
        for status in ("CREATED", "AUTHORISED", last):
            body = {
                **self._envelope(f"transaction.{status.lower()}", tenant, order, "payments"),
                "user_id": user, "amount": amount, "currency": self._random.choice(_CURRENCIES),
                "status": status, "merchant": self._random.choice(_MERCHANTS),
                "items": self._random.randint(1, 9), "risk": self._random.randint(0, 100),
            }
            correlation = correlation or body["correlation_id"]
            body |= {"correlation_id": correlation, "causation_id": cause}
            cause = body["event_id"]
            yield Event("transaction", body)

    def _system(self) -> Event:
        service = self._random.choice(_SERVICES)
        severity = self._random.choices(("INFO", "WARNING", "ERROR"), (90, 8, 2))[0]
        return Event("system", {
            **self._envelope("system.logged", self._tenant(), service, service),
            "severity": severity, "service": service,
            "message": self._random.choice(_MESSAGES),
            "duration_ms": round(self._random.expovariate(1 / 40), 3),
        })
