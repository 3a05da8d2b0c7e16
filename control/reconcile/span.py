"""Which events can be compared: those that the topic still has and the stores surely have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from control.events.reader import Reader, Spans, open_reader
from control.kafka import committed_offsets
from control.reconcile.event import EventReader

TOPIC = "events.clean"
# Two tasks of ingest clean side by side: what lies behind may have been cleaned a little earlier.
_SLACK_MICROS = 10_000_000
# A partition ends with a marker or two when nothing came after a transaction.
_FEW = 10


@dataclass(frozen=True)
class Span:
    """Times of cleaning in microseconds: from this one on, and before that one."""

    first: int
    end: int
    # Why it does not reach further, for a person; empty when it reaches as far as was asked.
    limits: tuple[str, ...] = ()

    def holds(self, cleaned_at: int) -> bool:
        """Tell whether an event belongs to the span."""
        return self.first <= cleaned_at < self.end


def find_span(
    reader: Reader, events: EventReader, bootstrap: str, stores: Sequence[str], wanted: Span
) -> tuple[Span, Spans]:
    """Return the span that can be compared, and where its events lie in the topic."""
    # In this order: what comes between the questions is then too new, not missing.
    groups = {store: _written(bootstrap, store) for store in stores}
    spans = reader.spans(TOPIC)
    first, end = wanted.first, wanted.end
    limits = []
    begin = _oldest_kept(reader, events, spans)
    if begin is not None and begin > first:
        first = begin
        limits.append(f"Kafka has nothing before {moment(begin)}")
    open_since = _open_since(bootstrap, events, spans)
    if open_since is not None and open_since < end:
        end = open_since
        limits.append(f"ingest has not committed what came after {moment(end)}")
    for store, written in groups.items():
        unwritten = _first_times(reader, events, _unwritten(spans, written))
        if unwritten:
            until = min(unwritten.values()) - _SLACK_MICROS
            if until < end:
                end = until
                limits.append(f"{store} has not surely written what came after {moment(until)}")
    return Span(first, end, tuple(limits)), spans


def backlog(reader: Reader, bootstrap: str, stores: Sequence[str]) -> dict[str, int]:
    """Return how many messages each job has surely not written yet."""
    spans = reader.spans(TOPIC)
    return {
        store: _messages(reader, _unwritten(spans, _written(bootstrap, store)))
        for store in stores
    }


def _written(bootstrap: str, store: str) -> Mapping[int, int]:
    return committed_offsets(bootstrap, f"sluice-{store}", TOPIC)


def _unwritten(spans: Spans, written: Mapping[int, int]) -> Spans:
    return {part: (max(first, min(written.get(part, first), end)), end)
            for part, (first, end) in spans.items()}


def _messages(reader: Reader, spans: Spans) -> int:
    """Count offsets; where few are left they may be markers of transactions and are looked at."""
    few = {part: span for part, span in spans.items() if 0 < span[1] - span[0] <= _FEW}
    many = sum(end - first for part, (first, end) in spans.items() if part not in few)
    return many + sum(1 for _ in reader.between(TOPIC, few))


def moment(micros: int) -> str:
    """Return a time for a person."""
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def exact_moment(micros: int) -> str:
    """Return a time to the microsecond, as Elasticsearch and PostgreSQL read it."""
    seconds, rest = divmod(max(0, micros), 1_000_000)
    # Beyond what a date can be stands for ever.
    seconds = min(seconds, 7_258_118_399)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06}Z"


def _oldest_kept(reader: Reader, events: EventReader, spans: Spans) -> int | None:
    """Return the time before which the topic has forgotten something, None if it has all."""
    cut = {part: span for part, span in spans.items() if span[0] > 0}
    times = _first_times(reader, events, cut)
    return max(times.values()) + _SLACK_MICROS if times else None


def _first_times(reader: Reader, events: EventReader, spans: Spans) -> dict[int, int]:
    """Return when the first event of each partition's span was cleaned."""
    left = {part for part, (first, end) in spans.items() if end > first}
    times: dict[int, int] = {}
    for record in reader.between(TOPIC, {part: spans[part] for part in left}):
        if record.partition in times or record.value is None:
            continue
        event = events.read(record.value)
        if event is not None:
            times[record.partition] = event.cleaned_at
            if len(times) == len(left):
                break
    return times


def _open_since(bootstrap: str, events: EventReader, committed: Spans) -> int | None:
    """Return since when events lie in transactions that are still open, None without any."""
    with open_reader(bootstrap, committed_only=False) as reader:
        ends = reader.spans(TOPIC)
        times = _first_times(
            reader, events, {part: (committed[part][1], ends[part][1]) for part in committed}
        )
    return min(times.values()) - _SLACK_MICROS if times else None
