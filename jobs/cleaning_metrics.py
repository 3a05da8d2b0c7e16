"""What the cleaning operator counts. Flink reads it when it reports; counting costs an addition."""

from dataclasses import dataclass, field
from typing import Any

from udfs.reasons import Reason
from udfs.schema_store import SchemaStore


@dataclass
class Counts:
    """Numbers since the operator was opened."""

    taken: int = 0
    late: int = 0
    reference_refused: int = 0
    nanoseconds: int = 0
    # Microseconds from the broker's taking the last event to its being cleaned.
    lag: int = 0
    refused: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(Reason, 0))

    def register(self, group: Any, store: SchemaStore) -> None:
        """Show the numbers as Flink metrics."""
        ours = group.add_group("sluice")
        ours.gauge("events_in", lambda: self.taken)
        ours.gauge("events_late", lambda: self.late)
        ours.gauge("reference_refused", lambda: self.reference_refused)
        ours.gauge("processing_microseconds", lambda: self.nanoseconds // 1000)
        ours.gauge("lag_milliseconds", lambda: self.lag // 1000)
        ours.gauge("waiting_for_registry", lambda: int(store.waiting_since > 0))
        for reason in Reason:
            ours.add_group("reason", reason.value).gauge("events_refused", _reader(self, reason))


def _reader(counts: Counts, reason: Reason) -> Any:
    return lambda: counts.refused[reason]
