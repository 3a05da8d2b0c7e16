"""What reconcile asks of a store."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from control.reconcile.event import Event
from control.reconcile.span import Span
from control.reconcile.tally import Bucket, Tally


@dataclass(frozen=True)
class Held:
    """One event as a store holds it."""

    id: str
    cleaned_at: int
    digest: int


class ComparedStore(Protocol):
    """A store that can be compared with the topic."""

    # The job that writes it, which is also the stage of its dead letters.
    name: str
    # What a person calls it.
    title: str

    def keeps(self, occurred_at: int) -> bool:
        """Tell whether events of this time are surely still there."""

    def digest(self, event: Event) -> int:
        """Return what the store's own digest of the event must be."""

    def tally(self, span: Span) -> Tally:
        """Return the sums of everything in the span, computed by the store."""

    def held(self, span: Span, buckets: Collection[Bucket]) -> Iterator[Held]:
        """Yield what some buckets hold of the span."""

    def find(self, ids: Sequence[str]) -> Iterable[Held]:
        """Return these events, whatever their span; those that are missing are left out."""

    def forget(self, ids: Sequence[str]) -> None:
        """Make place for these events, which are written again."""

    def write(self, messages: Sequence[bytes]) -> int:
        """Write events again; return how many the store refuses."""
