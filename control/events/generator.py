"""A seeded stream of events: the same seed makes the same events, but for the time of day."""

import heapq
import time
from collections.abc import Callable
from random import Random

from control.events import bodies
from control.events.chance import Weighted, hexadecimal, uuid4
from control.events.event import Body, Event, tenant_id
from control.events.filler import fill
from control.events.orders import Order
from udfs.contract import Contract, Domain

# Few tenants send most of the events, as in life: the k-th sends 1/k of what the first does.
_SKEW = 1.0

# What comes anew, by domain. An order has three steps or more, so a quarter of what begins makes
# half of all events. A domain without a story of its own gets a share, too.
_BEGINNINGS = {"transaction": 25.0, "user": 45.0, "system": 30.0}
_OTHER = 10.0

# Orders that wait for their next step. Steps are at most 5,000 events apart, so that a stream has
# some 500 open; only shares that leave no room for steps would make it more.
_MOST_OPEN = 10_000

DEFAULT_OLDER = 0.3


def now_micros() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1_000


class Generator:
    """Makes events of all domains and versions; orders are flows linked by their ids."""

    def __init__(
        self, contract: Contract, seed: int, tenants: int, older: float = DEFAULT_OLDER,
        clock: Callable[[], int] = now_micros,
    ) -> None:
        self._chance = Random(seed)  # noqa: S311 - made-up events, not secrets
        self._tenants = Weighted(
            [tenant_id(number) for number in range(1, tenants + 1)],
            [1 / rank**_SKEW for rank in range(1, tenants + 1)],
        )
        self._clock = clock
        self._last = 0
        self._position = 0
        # By the position of the next step; the second number breaks ties.
        self._open: list[tuple[int, int, Order]] = []
        self._domains = {domain.name: domain for domain in contract.domains.values()}
        names = list(self._domains)
        self._beginnings = Weighted(names, [_BEGINNINGS.get(name, _OTHER) for name in names])
        self._versions = {
            domain.name: _versions(len(domain.versions), older) for domain in self._domains.values()
        }

    def event(self) -> Event:
        """Return the stream's next event: the next step of an order that is due, or a new one."""
        self._position += 1
        if self._open and self._open[0][0] <= self._position:
            return self._step(heapq.heappop(self._open)[2])
        name = self._beginnings.draw(self._chance)
        if name == "transaction":
            return self._step(self._order())
        return self._single(name)

    def lone(self, domain: str | None = None) -> Event:
        """Return an event that no other one is linked to: its time and its ids may be changed."""
        name = domain or self._beginnings.draw(self._chance)
        if name != "transaction":
            return self._single(name)
        return self._order_event(self._order())

    def has(self, domain: str) -> bool:
        """Tell whether the contract has a domain."""
        return domain in self._domains

    def _order(self) -> Order:
        version = self._versions["transaction"].draw(self._chance)
        return Order(self._chance, self._tenants.draw(self._chance), version)

    def _step(self, order: Order) -> Event:
        if order.done:
            return self._failure(order)
        event = self._order_event(order)
        # What failed is followed by one more: the service that says why.
        follows = not order.done or (order.failed and "system" in self._domains)
        if follows and len(self._open) < _MOST_OPEN:
            due = self._position + order.pause()
            heapq.heappush(self._open, (due, self._position, order))
        return event

    def _order_event(self, order: Order) -> Event:
        action, fields = order.step()
        body = self._linked(order, f"transaction.{action}", order.entity, "payments", fields)
        return Event(self._domains["transaction"], order.version, body)

    def _failure(self, order: Order) -> Event:
        version = self._versions["system"].draw(self._chance)
        fields = bodies.log_line(
            self._chance, version, "ledger", "ERROR", f"payment of {order.entity} was declined"
        )
        body = self._linked(order, "system.logged", "ledger", "ledger", fields)
        return Event(self._domains["system"], version, body)

    def _linked(
        self, order: Order, event_type: str, entity: str, source: str, fields: Body
    ) -> Body:
        digits = hexadecimal(self._chance, 24)
        cause, order.cause = order.cause, uuid4(digits)
        return {
            "event_id": order.cause, "event_type": event_type, "occurred_at": self._now(),
            "tenant_id": order.tenant, "entity_id": entity, "correlation_id": order.correlation,
            "causation_id": cause, "source": source,
            "trace_context": f"00-{order.trace}-{digits[32:]}-01", **fields,
        }

    def _single(self, name: str) -> Event:
        domain, chance = self._domains[name], self._chance
        version = self._versions[name].draw(chance)
        if name == "user":
            action, entity, fields = bodies.user(chance, version)
            source = "accounts"
        elif name == "system":
            action, entity, fields = bodies.system(chance, version)
            source = entity
        else:
            return self._filled(domain, version)
        return Event(
            domain, version, self._unlinked(f"{name}.{action}", entity, source, fields)
        )

    def _filled(self, domain: Domain, version: int) -> Event:
        fields = fill(self._chance, domain.versions[version - 1], self._clock())
        entity = f"{domain.name}-{self._chance.randrange(1_000):03d}"
        # Sorted: the order of a set differs between runs.
        event_type = self._chance.choice(sorted(domain.event_types))
        return Event(domain, version, self._unlinked(event_type, entity, domain.name, fields))

    def _unlinked(self, event_type: str, entity: str, source: str, fields: Body) -> Body:
        # Drawn at once: two UUIDs, a trace and a span.
        digits = hexadecimal(self._chance, 56)
        return {
            "event_id": uuid4(digits), "event_type": event_type, "occurred_at": self._now(),
            "tenant_id": self._tenants.draw(self._chance), "entity_id": entity,
            "correlation_id": uuid4(digits[32:64]), "causation_id": None, "source": source,
            "trace_context": f"00-{digits[64:96]}-{digits[96:]}-01", **fields,
        }

    def _now(self) -> int:
        # The clock may stand still for two events, or go back; the stream's time does neither.
        self._last = max(self._clock(), self._last + 1)
        return self._last


def _versions(count: int, older: float) -> Weighted[int]:
    # What is not of the newest version is shared by all older ones.
    if count == 1:
        return Weighted([1], [1.0])
    return Weighted(range(1, count + 1), [older / (count - 1)] * (count - 1) + [1 - older])
