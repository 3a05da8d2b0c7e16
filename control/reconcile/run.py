"""`sluice reconcile` from its settings: who is asked, and for which span."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from control.database import connect
from control.dlq.letter import TOPIC as LETTERS
from control.dlq.letter import read_letter
from control.errors import RefusedError
from control.events.decoding import Decoding
from control.events.reader import Reader, open_reader
from control.reconcile.compare import Comparison, Report
from control.reconcile.event import EventReader
from control.reconcile.findings import Verdict
from control.reconcile.index import EventsIndex
from control.reconcile.span import TOPIC, Span, find_span
from control.reconcile.store import ComparedStore
from control.reconcile.table import EventsTable
from control.registry import RegistryClient
from control.rewriting import away_is_told, impatient
from control.settings import Settings
from jobs.lane import LIVE, Lane
from jobs.sink_plans import search_plan, timescale_plan
from udfs.contract import load_contract

STORES = ("timescale", "search")
_PAUSE_SECONDS = 2.0
_ASK_AGAIN = (
    "Ask again in half a minute, or with an earlier --from; "
    "`sluice jobs list` tells whether the jobs run."
)


def reconcile(
    settings: Settings, names: Collection[str], since: datetime | None, until: datetime | None,
    report: Report, *, repair: bool = False,
) -> Verdict:
    """Compare the stores with what is committed; the span is one of times of cleaning."""
    now = time.time_ns() // 1000
    wanted = Span(_micros(since, 0), min(_micros(until, now), now))
    with (
        RegistryClient(settings.registry_url) as registry,
        open_reader(settings.kafka_bootstrap) as reader,
        _open_stores(settings, names) as stores,
    ):
        events = EventReader(registry)
        report("asking how far the stores have written")
        span, _ = find_span(
            reader, events, settings.kafka_bootstrap, [store.name for store in stores], wanted
        )
        if span.end <= span.first:
            message = f"There is nothing that can be compared: {'; '.join(span.limits)}."
            raise RefusedError(message, _ASK_AGAIN)
        refused = _refused(reader, Decoding(registry.schema_by_id), names)
        with away_is_told("A store"):
            return Comparison(reader, events, stores, refused, span, report).run(repair=repair)


def await_comparable(
    settings: Settings, names: Collection[str], since: datetime, until: datetime,
    seconds: float, report: Report,
) -> tuple[str, ...]:
    """Wait until a span can be compared to its end; return why it cannot when the time is over."""
    wanted = Span(_micros(since, 0), _micros(until, 0))
    deadline = time.monotonic() + seconds
    with (
        RegistryClient(settings.registry_url) as registry,
        open_reader(settings.kafka_bootstrap) as reader,
    ):
        events = EventReader(registry)
        while True:
            span, _ = find_span(reader, events, settings.kafka_bootstrap, sorted(names), wanted)
            if span.end >= wanted.end:
                return ()
            if time.monotonic() > deadline:
                return span.limits
            report(f"waiting: {span.limits[-1]}")
            time.sleep(_PAUSE_SECONDS)


def reconcile_lane(settings: Settings, name: str, lane: Lane, report: Report) -> Verdict:
    """Compare what a lane wrote beside a store with what Kafka took in the lane's span."""
    letters = lane.topic(LETTERS)
    with (
        RegistryClient(settings.registry_url) as registry,
        open_reader(settings.kafka_bootstrap) as reader,
        _open_stores(settings, [name], lane) as stores,
    ):
        spans = reader.spans(TOPIC, lane.first, lane.end)
        refused = _refused(reader, Decoding(registry.schema_by_id), [name], letters)
        # Whenever it was cleaned: Kafka's time tells which events the lane has read.
        span = Span(0, time.time_ns() // 1000)
        with away_is_told("A store"):
            return Comparison(
                reader, EventReader(registry), stores, refused, span, report, spans
            ).run(repair=False)


@contextmanager
def _open_stores(
    settings: Settings, names: Collection[str], lane: Lane = LIVE
) -> Iterator[list[ComparedStore]]:
    stores: list[ComparedStore] = []
    with connect(settings.timescale_dsn) as connection:
        if "timescale" in names:
            clean = load_contract(settings.schemas).clean
            stores.append(EventsTable(connection, clean, timescale_plan(impatient(settings), lane)))
        if "search" in names:
            stores.append(EventsIndex(
                settings.elasticsearch_url, settings.search_keep_days,
                search_plan(impatient(settings), lane),
            ))
        yield stores


def _refused(
    reader: Reader, decoding: Decoding, names: Collection[str], topic: str = LETTERS
) -> Mapping[str, Collection[str]]:
    """Return, by store, the ids of events that it has refused: their letters tell."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in reader.between(topic, reader.spans(topic)):
        letter = read_letter(record, decoding)
        if letter is not None and letter[0].stage in names and letter[0].event_id:
            found[letter[0].stage].add(letter[0].event_id)
    return found


def _micros(moment: datetime | None, otherwise: int) -> int:
    return otherwise if moment is None else round(moment.timestamp() * 1e6)
