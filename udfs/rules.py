"""Our rules for events beyond what their schemas say. Each returns what is wrong, or None."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from udfs.contract import Domain
from udfs.reasons import Reason

Event = Mapping[str, Any]
Complaint = tuple[Reason, str]
Rule = Callable[[Event, int], Complaint | None]

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND

# Both cases: services send either, and Clean keeps small letters.
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}").fullmatch
_CURRENCY = re.compile(r"[A-Z]{3}").fullmatch
_REQUIRED = ("tenant_id", "entity_id", "source")
_LONGEST_SHOWN = 80


@dataclass(frozen=True)
class TimeLimits:
    """How far an event's time may be from the moment the broker took it."""

    max_age_days: float = 365
    max_ahead_minutes: float = 60


def rules_of(domain: Domain, limits: TimeLimits) -> tuple[Rule, ...]:
    """Return the rules that a domain's events are held to, in order."""
    names = {str(field["name"]) for field in domain.newest["fields"]}
    rules = [required_ids, uuids, event_type_of(domain), not_too_old(limits), not_ahead(limits)]
    if "amount" in names:
        rules.append(amount)
    if "currency" in names:
        rules.append(currency)
    return tuple(rules)


def required_ids(event: Event, _received: int) -> Complaint | None:
    """Demand that tenant, entity and source are there."""
    if event["tenant_id"] and event["entity_id"] and event["source"]:
        return None
    empty = next(name for name in _REQUIRED if not event[name])
    return Reason.MISSING_FIELD, f"{empty} is empty"


def uuids(event: Event, _received: int) -> Complaint | None:
    """Demand that event, correlation and causation ids are UUIDs."""
    cause = event["causation_id"]
    if (
        _UUID(event["event_id"]) and _UUID(event["correlation_id"])
        and (cause is None or _UUID(cause))
    ):
        return None
    name = next(
        name for name in ("event_id", "correlation_id", "causation_id")
        if not _UUID(event[name] or "")
    )
    return Reason.BAD_UUID, f"{name} is {_shown(event[name])}"


def event_type_of(domain: Domain) -> Rule:
    """Return the rule that a domain's event type is one of its own."""
    known = domain.event_types

    def event_type(event: Event, _received: int) -> Complaint | None:
        if event["event_type"] in known:
            return None
        return Reason.UNKNOWN_EVENT_TYPE, f"event_type is {_shown(event['event_type'])}"

    return event_type


def not_too_old(limits: TimeLimits) -> Rule:
    """Return the rule against events from long ago."""
    most = int(limits.max_age_days * _DAY)

    def age(event: Event, received: int) -> Complaint | None:
        behind = received - event["occurred_at"]
        if behind <= most:
            return None
        days = behind // _DAY
        return Reason.TOO_OLD, f"occurred_at is {days:,} days old; {limits.max_age_days:g} may be"

    return age


def not_ahead(limits: TimeLimits) -> Rule:
    """Return the rule against events from the future."""
    most = int(limits.max_ahead_minutes * 60 * _SECOND)

    def ahead(event: Event, received: int) -> Complaint | None:
        before = event["occurred_at"] - received
        if before <= most:
            return None
        seconds, allowed = before // _SECOND, limits.max_ahead_minutes * 60
        return Reason.TOO_FAR_AHEAD, f"occurred_at is {seconds:,} s ahead; {allowed:g} may be"

    return ahead


def amount(event: Event, _received: int) -> Complaint | None:
    """Demand that an amount is not negative."""
    # Two's complement, big end first: the first bit is the sign.
    value = event["amount"]
    if value is None or not value or value[0] < 128:  # noqa: PLR2004
        return None
    return Reason.BAD_AMOUNT, "amount is negative"


def currency(event: Event, _received: int) -> Complaint | None:
    """Demand that a currency is three capital letters."""
    value = event["currency"]
    if value is None or _CURRENCY(value):
        return None
    return Reason.BAD_AMOUNT, f"currency is {_shown(value)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
