"""Exchange the documents of a span between the live indices and their shadow, step by step.

Elasticsearch has no transaction: this is not atomic. While it runs, a reader finds some documents
from before and some from after, and for a moment some in neither. So that a kill loses nothing,
everything that will move is first written into an index beside the shadow's, both sides of it, and
then that plan is marked as whole. Whoever comes after a kill finds the mark and does all of it
again, which changes nothing where it was done; without the mark nothing has moved yet, and it
begins anew.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any

from pydantic import SecretStr

from control.errors import RefusedError, SluiceError
from control.lanes.findings import SwapFindings
from control.lanes.index_pages import (
    Found,
    Pair,
    check_time,
    days_of,
    digest_of_source,
    documents,
    side_by_side,
)
from control.reconcile.span import Span, moment
from control.search import BUSY, BusyError, ask, search, write_bulk
from jobs.lane import LIVE, Lane
from jobs.sink_plans import index_form
from jobs.spec import Output

_BATCH = 500
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 1.0
_GO_ON = "Run the same command again: it goes on where this stopped."


@dataclass(frozen=True)
class _Mark:
    """What is known of a swap whose plan is whole."""

    span: Span
    held_back: int


@dataclass(frozen=True)
class _Write:
    """One document to be written into an index, or deleted there."""

    index: str
    id: str
    version: int
    source: dict[str, Any] | None

    def operation(self) -> list[object]:
        """Return the lines for `_bulk`; what is newer than the version stays as it is."""
        action = {"_index": self.index, "_id": self.id, "version": self.version,
                  "version_type": "external_gte"}
        return [{"delete": action}] if self.source is None else [{"index": action}, self.source]


class IndexSwap:
    """One swap, from its plan to its end."""

    def __init__(
        self, url: SecretStr, output: Output, lane: Lane, span: Span, say: Callable[[str], None]
    ) -> None:
        check_time(output)
        self._url = url
        self._output = output
        self._lane = lane
        self._span = span
        self._say = say
        self._plan = plan_of(lane, output.name)
        self._made: set[str] = set()

    def run(self, note: Callable[[SwapFindings], None] = lambda _: None) -> SwapFindings:
        """Exchange what differs, or finish an exchange that was cut off; note it before it ends."""
        mark = _mark_of(self._url, self._plan)
        finishes = mark is not None
        if mark is None:
            mark = self._write_plan()
        elif mark.span != self._span:
            message = (
                f"A swap of {self._output.title} from {moment(mark.span.first)} to"
                f" {moment(mark.span.end)} was cut off."
            )
            hint = (
                f"Finish it first, with the same span (in microseconds: {mark.span.first} to"
                f" {mark.span.end})."
            )
            raise RefusedError(message, hint)
        else:
            self._say(f"{self._output.title}: finishing a swap that was cut off")
        to_live, to_shadow, newer = self._carry_out()
        for lane in (LIVE, self._lane):
            pattern = days_of(lane.indices(self._output.name))
            ask("POST", self._url, f"/{pattern}/_refresh?ignore_unavailable=true")
        found = SwapFindings(
            self._output.title, to_live, to_shadow, mark.held_back + newer, finishes
        )
        # As long as the plan is there, the next swap finishes this one: one that went without a
        # note would be undone by whoever tries again.
        note(found)
        ask("DELETE", self._url, f"/{self._plan}")
        return found

    def _write_plan(self) -> _Mark:
        ask("DELETE", self._url, f"/{self._plan}")
        # Nothing of the documents is understood here: they are only kept.
        ask("PUT", self._url, f"/{self._plan}", {"mappings": {
            "dynamic": False, "properties": {"number": {"type": "long"}},
        }})
        number = held_back = 0
        pairs = self._pairs()
        while batch := list(islice(pairs, _BATCH)):
            moving = self._movable(batch)
            held_back += len(batch) - len(moving)
            self._bulk([
                [{"index": {"_index": self._plan, "_id": str(place)}}, _kept(place, *pair)]
                for place, pair in enumerate(moving, number)
            ])
            number += len(moving)
            self._say(f"{self._output.title}: {number:,} documents to be exchanged")
        ask("POST", self._url, f"/{self._plan}/_refresh")
        ask("PUT", self._url, f"/{self._plan}/_mapping", {"_meta": {
            "first": self._span.first, "end": self._span.end, "held_back": held_back,
        }})
        return _Mark(self._span, held_back)

    def _pairs(self) -> Iterator[Pair]:
        name, time_field = self._output.name, self._output.time
        for live, shadow in side_by_side(*(
            documents(self._url, lane.indices(name), time_field, self._span)
            for lane in (LIVE, self._lane)
        )):
            if live is None or shadow is None or (
                digest_of_source(live.source) != digest_of_source(shadow.source)
            ):
                yield live, shadow

    def _movable(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Leave out those of which the other side has a copy from outside of the span."""
        alone = [pair for pair in pairs if pair[0] is None or pair[1] is None]
        if not alone:
            return list(pairs)
        asked = [
            {"_index": self._index(LIVE if live is None else self._lane, one), "_id": one.id}
            for live, shadow in alone if (one := live or shadow) is not None
        ]
        answer = ask("POST", self._url, "/_mget?_source=false", {"docs": asked})
        held = {
            id(pair) for pair, found in zip(alone, answer["docs"], strict=True)
            if _is_there(found)
        }
        return [pair for pair in pairs if id(pair) not in held]

    def _carry_out(self) -> tuple[int, int, int]:
        """Do all that is planned; return what moved to either side, and what stayed."""
        to_live = to_shadow = newer = 0
        for batch in self._planned():
            into_live = [self._write(LIVE, entry, "shadow") for entry in batch]
            conflicts = self._apply(LIVE, into_live)
            newer += len(conflicts)
            # What is newer in the live index stays there, and its twin in the shadow.
            done = [entry for number, entry in enumerate(batch) if number not in conflicts]
            self._apply(self._lane, [self._write(self._lane, entry, "live") for entry in done])
            to_live += sum(entry["shadow"] is not None for entry in done)
            to_shadow += sum(entry["live"] is not None for entry in done)
            self._say(f"{self._output.title}: {to_live + to_shadow:,} documents moved")
        return to_live, to_shadow, newer

    def _planned(self) -> Iterator[list[dict[str, Any]]]:
        after: list[Any] | None = None
        ask("POST", self._url, f"/{self._plan}/_refresh")
        while True:
            hits = search(self._url, f"/{self._plan}/_search", {
                "size": _BATCH, "sort": [{"number": "asc"}],
                **({"search_after": after} if after else {}),
            })["hits"]["hits"]
            if not hits:
                return
            yield [hit["_source"] for hit in hits]
            after = hits[-1]["sort"]

    def _write(self, lane: Lane, entry: dict[str, Any], taken: str) -> _Write:
        index = f"{lane.indices(self._output.name)}{entry['day']}"
        return _Write(index, entry["id"], entry["version"], entry[taken])

    def _index(self, lane: Lane, found: Found) -> str:
        return f"{lane.indices(self._output.name)}{found.day}"

    def _apply(self, lane: Lane, writes: Sequence[_Write]) -> set[int]:
        """Write and delete; return the numbers of those where something newer stands."""
        for index in {one.index for one in writes if one.source is not None} - self._made:
            self._make(index, lane)
        statuses = self._bulk([one.operation() for one in writes])
        return {
            number for number, status in enumerate(statuses) if status == HTTPStatus.CONFLICT
        }

    def _make(self, index: str, lane: Lane) -> None:
        if not ask("GET", self._url, f"/{index}"):
            try:
                ask("PUT", self._url, f"/{index}", index_form(lane))
            except SluiceError:
                # Its job may have met the day at the same moment.
                if not ask("GET", self._url, f"/{index}"):
                    raise
        self._made.add(index)

    def _bulk(self, operations: Sequence[Sequence[object]]) -> list[int]:
        """Send the same until Elasticsearch has time for all of it; return what it answered."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while operations:
            try:
                items = write_bulk(self._url, operations)
            except BusyError:
                items = []
            wrong = [item for item in items if item.get("error") and item["status"] not in (
                HTTPStatus.CONFLICT, *BUSY,
            )]
            if wrong:
                error = wrong[0]["error"]
                message = (
                    f"Elasticsearch refuses {wrong[0]['_id']} in {wrong[0]['_index']}:"
                    f" {error.get('reason')}"
                )
                raise SluiceError(message, f"Mend that first. {_GO_ON}")
            if items and not any(item["status"] in BUSY for item in items):
                return [int(item["status"]) for item in items]
            if time.monotonic() > deadline:
                message = f"Elasticsearch is too busy to exchange {self._output.title}."
                raise SluiceError(message, _GO_ON)
            time.sleep(_PAUSE_SECONDS)
        return []


def _is_there(found: dict[str, Any]) -> bool:
    error = found.get("error")
    if error and error.get("type") != "index_not_found_exception":
        # Nobody knows: moved on a guess, the document of the other side would be gone.
        message = (
            f"Elasticsearch cannot read {found['_id']} in {found['_index']}: {error.get('reason')}"
        )
        raise SluiceError(message, f"Mend that first. {_GO_ON}")
    return bool(found.get("found"))


def plan_of(lane: Lane, name: str) -> str:
    """Return the index that holds what a swap will do; it goes when the lane is removed."""
    return f"{lane.indices(name)}swap"


def is_cut_off(url: SecretStr, lane: Lane, name: str) -> bool:
    """Tell whether a swap has begun to move documents and has not ended."""
    return _mark_of(url, plan_of(lane, name)) is not None


def _mark_of(url: SecretStr, plan: str) -> _Mark | None:
    answer = ask("GET", url, f"/{plan}/_mapping")
    meta = answer.get(plan, {}).get("mappings", {}).get("_meta")
    if meta is None:
        return None
    return _Mark(Span(meta["first"], meta["end"]), meta["held_back"])


def _kept(number: int, live: Found | None, shadow: Found | None) -> dict[str, Any]:
    there = [found for found in (live, shadow) if found is not None]
    return {
        "number": number, "id": there[0].id, "day": there[0].day,
        # Neither side takes less than it has. What is newer than both came later, and wins.
        "version": max(found.version for found in there),
        "live": None if live is None else live.source,
        "shadow": None if shadow is None else shadow.source,
    }
