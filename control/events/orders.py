"""An order's way through payment: events that are linked and fit the version of its service."""

from random import Random

from control.events.bodies import country, user_id
from control.events.chance import Weighted, between, hexadecimal, uuid4
from control.events.event import Body, to_bytes

# What the versions of sluice.events.Transaction brought.
WITH_REFUNDS = 2
_WITH_CHANNEL = 2
_WITH_COUNTRY = 3

_CURRENCIES = Weighted(("EUR", "USD", "GBP", "CHF", "INR"), (45, 30, 10, 5, 10))
_MERCHANTS = ("bakery", "bookshop", "fuel", "grocer", "hotel", "Zürcher Käse", None)
_CHANNELS = ("web", "app", "terminal", None)
_FAILS = 0.06
_REFUNDED = 0.1


class Order:
    """One order and how far it is; its amount, its currency and its trace stay the same."""

    __slots__ = ("_amount", "_chance", "_fields", "_steps", "cause", "correlation", "entity",
                 "failed", "tenant", "trace", "version")

    def __init__(self, chance: Random, tenant: str, version: int) -> None:
        self._chance = chance
        self.tenant = tenant
        # One service sends all of its steps, with one version of the schema.
        self.version = version
        self.entity = f"order-{hexadecimal(chance, 5)}"
        self.correlation = uuid4(hexadecimal(chance, 16))
        self.trace = hexadecimal(chance, 16)
        self.cause: str | None = None
        self.failed = chance.random() < _FAILS
        self._steps = ["failed" if self.failed else "captured", "authorised", "created"]
        if not self.failed and version >= WITH_REFUNDS and chance.random() < _REFUNDED:
            self._steps.insert(0, "refunded")
        self._fields: Body = {
            "user_id": user_id(chance),
            "amount": to_bytes(between(chance, 100, 500_000)),
            "currency": _CURRENCIES.draw(chance),
            "items": between(chance, 1, 12),
        }
        merchant = chance.choice(_MERCHANTS)
        if version >= _WITH_COUNTRY:
            self._fields |= {"merchant_name": merchant, "country": country(chance)}
        else:
            self._fields["merchant"] = merchant
        if version >= _WITH_CHANNEL:
            self._fields["channel"] = chance.choice(_CHANNELS)

    @property
    def done(self) -> bool:
        """Whether no step is left."""
        return not self._steps

    def step(self) -> tuple[str, Body]:
        """Return the next action and its fields."""
        action = self._steps.pop()
        risk = self._chance.random() ** 4 * 100
        fields = {
            **self._fields, "status": action.upper(),
            "risk": round(risk, 2) if self.version >= _WITH_COUNTRY else int(risk),
        }
        return action, fields

    def pause(self) -> int:
        """Return how many other events come before the next step."""
        # A refund takes longer than a payment.
        refund = self._steps == ["refunded"]
        return between(self._chance, 300, 5_000) if refund else between(self._chance, 2, 300)
