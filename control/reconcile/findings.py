"""What a comparison found, store by store."""

from dataclasses import dataclass, field
from typing import Any

from control.reconcile.span import Span, moment

# Of each kind, enough for a person to look into.
SAMPLES = 10


@dataclass
class Kind:
    """Events that are wrong in one way."""

    count: int = 0
    sample: list[str] = field(default_factory=list)

    def add(self, event: str) -> None:
        """Count one."""
        self.count += 1
        if len(self.sample) < SAMPLES:
            self.sample.append(event)


@dataclass
class StoreFindings:
    """What was found in one store."""

    name: str
    title: str
    # How many of the span it holds, as it says itself.
    held: int = 0
    # How many it must hold; refused ones are not among them.
    expected: int = 0
    refused: int = 0
    buckets: int = 0
    differing: int = 0
    missing: Kind = field(default_factory=Kind)
    extra: Kind = field(default_factory=Kind)
    different: Kind = field(default_factory=Kind)
    repaired: int = 0

    @property
    def equal(self) -> bool:
        """Whether nothing is missing, doubled, changed or from nowhere."""
        return not (self.missing.count or self.extra.count or self.different.count)


@dataclass
class Verdict:
    """What was compared, and what was found."""

    span: Span
    # Committed events of the span, copies of one event included.
    events: int = 0
    unreadable: int = 0
    stores: list[StoreFindings] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether every store holds exactly what was committed."""
        return all(store.equal for store in self.stores)

    def as_json(self) -> dict[str, Any]:
        """Return everything for a machine."""
        return {
            "equal": self.equal,
            "from": moment(self.span.first), "to": moment(self.span.end),
            "limits": list(self.span.limits),
            "events": self.events, "unreadable": self.unreadable,
            "stores": [{
                "store": store.name, "equal": store.equal, "expected": store.expected,
                "held": store.held, "refused": store.refused, "repaired": store.repaired,
                "buckets": store.buckets, "differing_buckets": store.differing,
                **{name: {"count": kind.count, "sample": kind.sample} for name, kind in (
                    ("missing", store.missing), ("extra", store.extra),
                    ("different", store.different),
                )},
            } for store in self.stores],
        }
