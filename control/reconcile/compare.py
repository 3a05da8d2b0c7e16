"""Compare what is committed in events.clean with what the stores hold.

First sums: one pass over the topic, and each store adds up for itself. Only buckets whose sums
differ are read out event by event, so memory does not grow with the number of events.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from control.events.reader import Reader, Spans
from control.reconcile.event import Event, EventReader
from control.reconcile.findings import StoreFindings, Verdict
from control.reconcile.span import TOPIC, Span
from control.reconcile.store import ComparedStore, Held
from control.reconcile.tally import Bucket, Tally

# So many events are in memory at most when buckets are read out; larger buckets come alone.
_MOST_AT_ONCE = 400_000
# Written again together.
_REPAIR_BATCH = 2_000
_REPORT_EVERY = 20_000
# What ingest took back and has not sent again yet looks as if it came from nowhere.
_SETTLE_SECONDS = 15.0
_RECENT_MICROS = 600_000_000

Report = Callable[[str], None]


@dataclass(frozen=True)
class _Copy:
    """The newest committed copy of an event."""

    cleaned_at: int
    digest: int


class Comparison:
    """One run of `sluice reconcile`."""

    def __init__(
        self, reader: Reader, events: EventReader, stores: Sequence[ComparedStore],
        refused: Mapping[str, Collection[str]], span: Span, report: Report,
        spans: Spans | None = None,
    ) -> None:
        self._reader = reader
        self._events = events
        self._stores = stores
        # By store, the ids of events that it has refused.
        self._refused = refused
        self._span = span
        self._report = report
        # Only these messages of the topic; without them all since the span began.
        self._spans = spans
        self._begun = time.time_ns() // 1000

    def run(self, *, repair: bool) -> Verdict:
        """Compare, and write again what is missing or different if asked to."""
        verdict = Verdict(self._span)
        expected = self._expected(verdict)
        for store in self._stores:
            self._report(f"{store.title} adds up what it holds")
            held = store.tally(self._span)
            wanted = expected[store.name]
            found = StoreFindings(
                store.name, store.title, held.count, wanted.count,
                len(self._refused[store.name]), len(wanted.sums.keys() | held.sums.keys()),
            )
            verdict.stores.append(found)
            buckets = wanted.differing(held)
            found.differing = len(buckets)
            for group in _groups(buckets, wanted, held):
                distinct = self._read_out(store, group, found, repair=repair)
                # The sums had counted each copy of an event, a store has one.
                found.expected += distinct - wanted.largest(group)
        return verdict

    def _expected(self, verdict: Verdict) -> dict[str, Tally]:
        tallies = {store.name: Tally() for store in self._stores}
        for event in self._all(verdict):
            if not self._span.holds(event.cleaned_at):
                continue
            verdict.events += 1
            for store in self._stores:
                if store.keeps(event.occurred_at) and event.id not in self._refused[store.name]:
                    tallies[store.name].add(event.bucket, 1, store.digest(event))
        return tallies

    def _all(self, verdict: Verdict | None = None) -> Iterator[Event]:
        """Yield every committed event there is now that can be read."""
        spans = self._spans or self._reader.spans(TOPIC, since=self._span.first // 1000)
        total = sum(end - first for first, end in spans.values())
        for seen, record in enumerate(self._reader.between(TOPIC, spans), 1):
            if seen % _REPORT_EVERY == 0:
                self._report(f"{seen:,} of about {total:,} messages read")
            event = None if record.value is None else self._events.read(record.value)
            if event is not None:
                yield event
            elif verdict is not None:
                verdict.unreadable += 1

    def _read_out(
        self, store: ComparedStore, buckets: Collection[Bucket], found: StoreFindings,
        *, repair: bool,
    ) -> int:
        """Note what differs in some buckets; return how many events they must hold."""
        missing, different, extra, distinct = self._differences(store, buckets)
        if any(held.cleaned_at > self._begun - _RECENT_MICROS for held in extra.values()):
            self._report("events that are not committed yet? looking again in a moment")
            time.sleep(_SETTLE_SECONDS)
            missing, different, extra, distinct = self._differences(store, buckets)
        for kind, ids in (
            (found.missing, missing), (found.different, different), (found.extra, extra)
        ):
            for one in sorted(ids):
                kind.add(one)
        if repair and (missing or different):
            # What is there would count as the same version.
            store.forget(sorted(different))
            found.repaired += self._write_again(store, missing | different)
        return distinct

    def _differences(
        self, store: ComparedStore, buckets: Collection[Bucket]
    ) -> tuple[set[str], set[str], dict[str, Held], int]:
        wanted = frozenset(buckets)
        self._report(f"{store.title}: {len(wanted):,} buckets differ; reading them out")
        held: dict[str, Held] = {}
        doubled: dict[str, Held] = {}
        for one in store.held(self._span, wanted):
            if held.setdefault(one.id, one) is not one:
                doubled[one.id] = one
        copies: dict[str, _Copy] = {}
        for event in self._all():
            if event.bucket in wanted and store.keeps(event.occurred_at):
                known = copies.get(event.id)
                if known is None or known.cleaned_at < event.cleaned_at:
                    copies[event.id] = _Copy(event.cleaned_at, store.digest(event))
        refused = self._refused[store.name]
        # Committed in the span, but not held as they are; newer than the span does not count yet.
        suspects = {
            name: copy for name, copy in copies.items() if self._span.holds(copy.cleaned_at)
            and (name not in held or held[name].digest != copy.digest)
        }
        extra = doubled | {name: one for name, one in held.items() if name not in copies}
        # The store may have written meanwhile, or hold a copy that is newer than the span.
        now = {one.id: one for one in store.find(list(suspects))}
        missing = {name for name in suspects if name not in now and name not in refused}
        different = {
            name for name, copy in suspects.items() if name in now
            and now[name].cleaned_at <= copy.cleaned_at and now[name].digest != copy.digest
        }
        distinct = sum(
            self._span.holds(copy.cleaned_at) and (name in held or name not in refused)
            for name, copy in copies.items()
        )
        return missing, different, extra, distinct

    def _write_again(self, store: ComparedStore, ids: set[str]) -> int:
        written = 0
        newest: dict[str, Event] = {}
        for event in self._all():
            known = newest.get(event.id)
            if event.id in ids and (known is None or known.cleaned_at < event.cleaned_at):
                newest[event.id] = event
        messages = [event.message for event in newest.values()]
        for start in range(0, len(messages), _REPAIR_BATCH):
            batch = messages[start:start + _REPAIR_BATCH]
            written += len(batch) - store.write(batch)
            self._report(f"{store.title}: {written:,} of {len(messages):,} written again")
        return written


def _groups(buckets: Sequence[Bucket], *sides: Tally) -> Iterator[list[Bucket]]:
    """Yield buckets in groups that fit in memory."""
    group: list[Bucket] = []
    size = 0
    for bucket in buckets:
        own = max(side.largest([bucket]) for side in sides)
        if group and size + own > _MOST_AT_ONCE:
            yield group
            group, size = [], 0
        group.append(bucket)
        size += own
    if group:
        yield group
