"""The fields of each domain's events, as each version of its schema has them."""

from random import Random

from control.events.chance import Weighted
from control.events.event import Body

_DOMAINS = ("example.com", "example.org", "example.net", None)
_COUNTRIES = Weighted(("DE", "FR", "US", "GB", "IN", "BR", None), (20, 12, 25, 14, 18, 6, 5))
_DEVICES = ("phone", "laptop", "tablet", None)
_PLANS = Weighted(("FREE", "TEAM", "ENTERPRISE", "UNKNOWN"), (60, 25, 10, 5))
_USER_ACTIONS = Weighted(
    ("logged_in", "logged_out", "updated", "registered", "deleted"), (45, 30, 15, 9, 1)
)
_COMMENTS = (
    "moved to a new address", "changed the password after a warning", "café à la carte, please",
    "wants the invoice by post", "asked to be called back", "new phone number",
)
_SYSTEM_ACTIONS = Weighted(("logged", "started", "stopped", "deployed"), (96, 1.5, 1.5, 1))
_SERVICES = ("checkout", "gateway", "ledger", "mailer", "search")
_SEVERITIES = Weighted(("DEBUG", "INFO", "WARNING", "ERROR"), (10, 80, 8, 2))
_MESSAGES = {
    "DEBUG": ("cache filled", "pool has room again", "plan of a query chosen"),
    "INFO": ("request served", "session opened", "mail handed over", "page of results sent"),
    "WARNING": ("cache miss on a hot key", "certificate expires soon", "retry after a conflict"),
    "ERROR": ("connection to the ledger timed out", "queue is full", "answer could not be read"),
}
_STATUSES = {"DEBUG": 200, "INFO": 200, "WARNING": 409, "ERROR": 503}
_LIFE = {"started": "service started", "stopped": "service stopped", "deployed": "new version live"}

# Versions that brought a field.
_USER_WITH_PLAN = 2
_SYSTEM_WITH_HOST = 2


def user(chance: Random, version: int) -> tuple[str, str, Body]:
    """Return the action, the entity and the fields of a user event."""
    who = user_id(chance)
    action = _USER_ACTIONS.draw(chance)
    body: Body = {
        "user_id": who, "email_domain": chance.choice(_DOMAINS),
        "country": _COUNTRIES.draw(chance), "device": chance.choice(_DEVICES),
    }
    if version >= _USER_WITH_PLAN:
        body["plan"] = _PLANS.draw(chance)
        body["comment"] = chance.choice(_COMMENTS) if action == "updated" else None
    return action, who, body


def system(chance: Random, version: int) -> tuple[str, str, Body]:
    """Return the action, the entity and the fields of a system event."""
    service = chance.choice(_SERVICES)
    action = _SYSTEM_ACTIONS.draw(chance)
    severity = _SEVERITIES.draw(chance) if action == "logged" else "INFO"
    message = _LIFE.get(action) or chance.choice(_MESSAGES[severity])
    return action, service, log_line(chance, version, service, severity, message)


def log_line(chance: Random, version: int, service: str, severity: str, message: str) -> Body:
    """Return the fields of what a service says."""
    body: Body = {
        "severity": severity, "service": service, "message": message,
        "duration_ms": round(chance.expovariate(1 / 40), 3),
    }
    if version >= _SYSTEM_WITH_HOST:
        body["host"] = f"{service}-{int(chance.random() * 8)}"
        body["http_status"] = _STATUSES[severity]
    return body


def user_id(chance: Random) -> str:
    """Return a user: a few are busy, most are seldom seen."""
    return f"user-{int(5_000 * chance.random() ** 3) + 1:05d}"


def country(chance: Random) -> str | None:
    """Return a country."""
    return _COUNTRIES.draw(chance)
