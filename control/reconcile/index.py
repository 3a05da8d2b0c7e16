"""The daily indices, as reconcile sees them."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from control.reconcile.event import Event
from control.reconcile.span import Span, exact_moment
from control.reconcile.store import Held
from control.reconcile.tally import Bucket, Tally, part_of
from control.search import ask, search
from jobs.search import SearchPlan
from udfs.document_text import digest
from udfs.documents import PREFIX
from udfs.search_store import oldest_day

_HOUR_MILLIS = 3_600_000
_DAY_MICROS = 86_400 * 1_000_000
_PAGE = 2_000
_HALF = 2**24


class EventsIndex:
    """Compares documents by the digests that the writer stored with them.

    Elasticsearch cannot compute one from a document's fields; what is compared is that each event
    is there once, in the version that was committed.
    """

    name = "search"
    title = "Elasticsearch"

    def __init__(self, url: SecretStr, keep_days: int, plan: SearchPlan) -> None:
        self._url = url
        self._plan = replace(plan, versioned=False)
        # A shadow's indices are not behind the alias.
        self._where = "/events" if plan.indices == PREFIX else f"/{plan.indices}*"
        # A day more: its index may be dropped at any moment.
        self._oldest = (oldest_day(time.time(), keep_days) + 1) * _DAY_MICROS

    def keeps(self, occurred_at: int) -> bool:
        """Tell whether the index of this time is surely still there."""
        return occurred_at >= self._oldest

    def digest(self, event: Event) -> int:
        """Return the digest that the document must carry."""
        return _joined(*digest(event.message))

    def tally(self, span: Span) -> Tally:
        """Let Elasticsearch count and add up, a page of hours and tenants at a time."""
        ask("POST", self._url, f"{self._where}/_refresh?ignore_unavailable=true")
        found = Tally()
        after: dict[str, Any] | None = None
        while True:
            answer = self._search({
                "size": 0, "query": self._query(span), "aggs": {"buckets": {
                    "composite": {
                        "size": _PAGE, "sources": [
                            {"hour": {"date_histogram": {
                                "field": "occurred_at", "fixed_interval": "1h"}}},
                            {"tenant": {"terms": {"field": "tenant_id"}}},
                        ], **({"after": after} if after else {}),
                    },
                    "aggs": {half: {"sum": {"field": half}} for half in _HALVES},
                }},
            })
            pages = answer.get("aggregations", {}).get("buckets", {})
            for bucket in pages.get("buckets", []):
                key = bucket["key"]
                found.add(
                    (int(key["hour"]) // _HOUR_MILLIS, part_of(key["tenant"])),
                    int(bucket["doc_count"]),
                    _joined(*(int(bucket[half]["value"]) for half in _HALVES)),
                )
            after = pages.get("after_key")
            if after is None:
                return found

    def held(self, span: Span, buckets: Collection[Bucket]) -> Iterator[Held]:
        """Yield the documents of some buckets."""
        for hour in sorted({hour for hour, _ in buckets}):
            parts = {part for of, part in buckets if of == hour}
            query = self._query(span)
            query["bool"]["filter"].append({"range": {"occurred_at": {
                "gte": exact_moment(hour * _HOUR_MILLIS * 1000),
                "lt": exact_moment((hour + 1) * _HOUR_MILLIS * 1000),
            }}})
            for source in self._all(query):
                if part_of(source["tenant_id"]) in parts:
                    yield _held(source)

    def find(self, ids: Sequence[str]) -> Iterable[Held]:
        """Return the documents of these events."""
        for start in range(0, len(ids), _PAGE):
            answer = self._search({
                "size": _PAGE, "query": {"ids": {"values": list(ids[start:start + _PAGE])}},
                "_source": _FIELDS,
            })
            for hit in answer.get("hits", {}).get("hits", []):
                yield _held(hit["_source"])

    def forget(self, ids: Sequence[str]) -> None:
        """Do nothing: documents are overwritten."""

    def write(self, messages: Sequence[bytes]) -> int:
        """Write documents as the job does."""
        return self._plan.open_sink().write(messages).refused

    def _query(self, span: Span) -> dict[str, Any]:
        return {"bool": {"filter": [
            {"range": {"cleaned_at": {
                "gte": exact_moment(span.first), "lt": exact_moment(span.end),
            }}},
            {"range": {"occurred_at": {"gte": exact_moment(self._oldest)}}},
        ]}}

    def _all(self, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        after: list[Any] | None = None
        while True:
            hits = self._search({
                "size": _PAGE, "query": query, "_source": _FIELDS, "sort": [{"event_id": "asc"}],
                **({"search_after": after} if after else {}),
            }).get("hits", {}).get("hits", [])
            for hit in hits:
                yield hit["_source"]
            if len(hits) < _PAGE:
                return
            after = hits[-1]["sort"]

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        return search(self._url, f"{self._where}/_search?ignore_unavailable=true", body)


_HALVES = ("digest_high", "digest_low")
_FIELDS = ["event_id", "tenant_id", "cleaned_at", *_HALVES]


def _joined(high: int, low: int) -> int:
    return high * _HALF + low


def _held(source: dict[str, Any]) -> Held:
    cleaned = datetime.fromisoformat(source["cleaned_at"])
    since = cleaned - datetime(1970, 1, 1, tzinfo=UTC)
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return Held(
        source["event_id"], micros, _joined(*(int(source.get(half, -1)) for half in _HALVES))
    )
