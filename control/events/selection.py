"""Which messages a person asked for."""

from dataclasses import dataclass
from typing import Any

from control.events.decoding import Decoded, Decoding
from control.events.reader import Record


@dataclass(frozen=True)
class Filter:
    """What a message must be to be shown; without any wish all are."""

    domain: str | None = None
    tenant: str | None = None
    event_type: str | None = None

    def takes(self, decoded: Decoded) -> bool:
        """Tell whether a message is asked for."""
        wishes = {"domain": self.domain, "tenant_id": self.tenant, "event_type": self.event_type}
        if not any(wishes.values()):
            return True
        if decoded.fields is None:
            return False
        found = {"domain": _domain(decoded.fields), **decoded.fields}
        return all(found.get(name) == wish for name, wish in wishes.items() if wish)


def _domain(fields: dict[str, Any]) -> str | None:
    event_type = fields.get("event_type")
    return event_type.partition(".")[0] if isinstance(event_type, str) else None


class Finder:
    """Knows one event by its id; services may write it in capital letters, too."""

    def __init__(self, event_id: str, decoding: Decoding) -> None:
        self._id = event_id.lower()
        self._bytes = self._id.encode()
        self._decoding = decoding

    def wants(self, record: Record) -> bool:
        """Tell whether a message is the event; others may name it as their cause."""
        # Looking for the text first: decoding every message would take ten times as long.
        if record.value is None or self._bytes not in record.value.lower():
            return False
        fields = self._decoding.decode(record.value).fields or {}
        return str(fields.get("event_id", "")).lower() == self._id
