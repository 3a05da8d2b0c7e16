"""From a decoded event to the canonical record that the stores keep."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from udfs.avro_parts import sized
from udfs.contract import Contract, Domain, Schema
from udfs.record_writer import compile_writer
from udfs.wire import frame

# What ingest fills in itself; a domain's field of such a name becomes an attribute.
OURS = frozenset({
    "domain", "schema_version", "received_at", "cleaned_at", "tenant_name", "tenant_tier",
    "tenant_region", "is_error", "text", "attributes",
})


@dataclass(frozen=True)
class Tenant:
    """What is known of a tenant."""

    name: str | None = None
    tier: str | None = None
    region: str | None = None

    # The three columns as Avro has them. Not a cached property: those hold a lock, and this class
    # travels inside the jobs.
    encoded: tuple[bytes, bytes, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name, tier, region = (
            b"\x00" if value is None else b"\x02" + sized(value.encode())
            for value in (self.name, self.tier, self.region)
        )
        object.__setattr__(self, "encoded", (name, tier, region))


_NOBODY = Tenant()


class CleanEncoder:
    """Writes canonical records."""

    def __init__(self, contract: Contract, schema_id: int) -> None:
        self._write = compile_writer(contract.clean)
        self._id = schema_id

    def encode(self, clean: Mapping[str, Any]) -> bytes:
        """Return a canonical record as Kafka's bytes."""
        return frame(self._id, self._write(clean))


class Cleaner:
    """Turns the events of one domain into canonical records."""

    def __init__(self, domain: Domain, clean: Schema) -> None:
        columns = {str(field["name"]): field for field in clean["fields"]}
        fields = {str(field["name"]): field for field in domain.newest["fields"]}
        self._name = domain.name
        self._renamed = tuple(domain.columns.items())
        kept = (set(columns) & set(fields)) - OURS
        used = kept | set(domain.text) | set(domain.columns.values())
        self._attributes = tuple(
            (name, _as_text(field["type"])) for name, field in fields.items() if name not in used
        )
        self._text = domain.text
        self._errors = tuple(domain.errors.items())
        # Columns that this domain has nothing for.
        self._blank = {
            name: None for name in columns if name not in fields and name not in OURS
        }
        amount = domain.columns.get("amount", "amount")
        self._scale = (
            scale_of(columns["amount"]["type"]) - scale_of(fields[amount]["type"])
            if amount in fields else 0
        )

    def clean(
        self, event: dict[str, Any], version: int, received: int, cleaned: int,
        tenant: Tenant | None,
    ) -> dict[str, Any]:
        """Return the canonical record; the event is used up."""
        attributes = {}
        for name, as_text in self._attributes:
            value = event[name]
            if value is not None:
                attributes[name] = as_text(value)
        text = " ".join([event[name] for name in self._text if event[name]])
        event["text"] = text or None
        event["is_error"] = any(event[name] in values for name, values in self._errors)
        event["domain"] = self._name
        event["schema_version"] = version
        event["received_at"] = received
        event["cleaned_at"] = cleaned
        event["attributes"] = attributes
        event.update(self._blank)
        for column, name in self._renamed:
            event[column] = event[name]
        known = tenant or _NOBODY
        event["tenant_name"] = known.name
        event["tenant_tier"] = known.tier
        event["tenant_region"] = known.region
        # One form for ids that may be written in two.
        event["event_id"] = event["event_id"].lower()
        event["correlation_id"] = event["correlation_id"].lower()
        if event["causation_id"] is not None:
            event["causation_id"] = event["causation_id"].lower()
        if self._scale and event["amount"] is not None:
            event["amount"] = rescale(event["amount"], self._scale)
        return event


def scale_of(kind: Any) -> int:
    """Return the decimal places of an amount's type."""
    if isinstance(kind, list):
        return max(scale_of(branch) for branch in kind)
    return int(kind.get("scale", 0)) if isinstance(kind, dict) else 0


def rescale(amount: bytes, places: int) -> bytes:
    """Add decimal places to an exact amount."""
    number = int.from_bytes(amount, "big", signed=True) * int(10**places)
    return number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)


def _as_text(kind: Any) -> Callable[[Any], str]:
    names = [branch["type"] if isinstance(branch, dict) else branch
             for branch in (kind if isinstance(kind, list) else [kind])]
    if set(names) <= {"string", "enum", "null"}:
        return str
    if set(names) <= {"int", "long", "float", "double", "null"}:
        return repr
    return _json


def _json(value: Any) -> str:
    return json.dumps(value, default=_hexadecimal, ensure_ascii=False)


def _hexadecimal(value: bytes) -> str:
    return value.hex()
