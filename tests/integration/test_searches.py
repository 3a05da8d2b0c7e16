"""Every search of docs/queries.md against answers computed from the events themselves."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from control.settings import PROJECT_ROOT
from jobs.sink_plans import search_plan
from tests.kit.sinks import Clean, CleanMaker
from tests.kit.stack import TestStack

PAGE = PROJECT_ROOT / "docs" / "queries.md"
TENANT = "searcher"


def read_searches() -> dict[str, str]:
    """Read the page: a heading, a few words, a body."""
    found, title = {}, ""
    block = re.compile(r"^### ([^\n]+)$|^```json search\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for match in block.finditer(PAGE.read_text(encoding="utf-8")):
        if match[1] is not None:
            title = match[1]
        else:
            found[title] = match[2]
    return found


SEARCHES = read_searches()


class Known:
    """Events whose answers are known, in the indices."""

    def __init__(self, stack: TestStack) -> None:
        self.url = stack.settings().elasticsearch_url.get_secret_value()
        maker = CleanMaker(stack)
        made = maker.make(600, seed=401, late=0.05)
        self.records = [maker.changed(record, tenant_id=TENANT) for record in made]
        self.records[0] = maker.changed(
            self.records[0], text="The quick brown fox pays late", attributes={"colour": "brown"}
        )
        self.records[1] = maker.changed(self.records[1], text="A brown envelope")
        done = search_plan(stack.settings()).open_sink().write(
            [record.value for record in self.records]
        )
        assert not done.refused
        httpx.post(f"{self.url}/events/_refresh", timeout=30).raise_for_status()
        times = [record.fields["occurred_at"] for record in self.records]
        # A span that leaves some of them out.
        self.begin, self.end = sorted(times)[10], max(times) + timedelta(seconds=1)
        flows = Counter(str(record.fields["correlation_id"]) for record in self.records)
        self.flow = flows.most_common(1)[0][0]

    def within(self) -> Sequence[Clean]:
        """Return the events of the span."""
        return [record for record in self.records
                if self.begin <= record.fields["occurred_at"] < self.end]

    def ask(self, title: str) -> dict[str, Any]:
        """Run a search of the page with its capitals replaced."""
        body = SEARCHES[title]
        for name, value in {
            "WORDS": "brown fox", "TENANT": TENANT, "FROM": self.begin.isoformat(),
            "TO": self.end.isoformat(), "CORRELATION": self.flow, "ATTRIBUTE": "colour",
            "VALUE": "brown",
        }.items():
            body = re.sub(rf"\b{name}\b", value, body)
        answer = httpx.post(f"{self.url}/events/_search", json=json.loads(body), timeout=30)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


def _ids(found: dict[str, Any]) -> list[str]:
    return [hit["_id"] for hit in found["hits"]["hits"]]


def _counts(found: dict[str, Any], name: str) -> dict[str, int]:
    return {bucket["key"]: bucket["doc_count"]
            for bucket in found["aggregations"][name]["buckets"]}


def _of(records: Sequence[Clean], name: str) -> dict[str, int]:
    return dict(Counter(
        record.fields[name] for record in records if record.fields[name] is not None
    ))


def words(known: Known, found: dict[str, Any]) -> None:
    assert _ids(found) == [known.records[0].id]
    (marked,) = found["hits"]["hits"][0]["highlight"]["text"]
    assert marked == "The quick <em>brown</em> <em>fox</em> pays late"


def facets(known: Known, found: dict[str, Any]) -> None:
    for name, column in (("types", "event_type"), ("statuses", "status"),
                         ("countries", "country")):
        assert _counts(found, name) == _of(known.within(), column)


def flow(known: Known, found: dict[str, Any]) -> None:
    wanted = sorted(
        (record for record in known.records
         if str(record.fields["correlation_id"]) == known.flow),
        key=lambda record: record.fields["occurred_at"],
    )
    assert len(wanted) > 1
    assert _ids(found) == [record.id for record in wanted]


def errors(known: Known, found: dict[str, Any]) -> None:
    wrong = [record for record in known.within() if record.fields["is_error"]]
    wanted: Counter[tuple[int, str]] = Counter(
        (int(record.fields["occurred_at"].timestamp()) // 900 * 900_000, record.fields["source"])
        for record in wrong
    )
    assert wanted
    assert wanted == Counter({
        (bucket["key"], source["key"]): source["doc_count"]
        for bucket in found["aggregations"]["times"]["buckets"]
        for source in bucket["sources"]["buckets"]
    })


def attribute(known: Known, found: dict[str, Any]) -> None:
    assert _ids(found) == [known.records[0].id]


def users(known: Known, found: dict[str, Any]) -> None:
    for bucket in found["aggregations"]["types"]["buckets"]:
        own = [record for record in known.within()
               if record.fields["event_type"] == bucket["key"]]
        assert bucket["doc_count"] == len(own)
        assert bucket["users"]["value"] == len(_of(own, "user_id"))
        durations = [record.fields["duration_ms"] for record in own
                     if record.fields["duration_ms"] is not None]
        values = bucket["durations"]["values"]
        if durations:
            below = sum(value <= values["95.0"] for value in durations)
            assert 0.9 * len(durations) - 1 <= below <= len(durations)
            assert min(durations) <= values["50.0"] <= values["95.0"] <= max(durations)
        else:
            assert values["50.0"] is None


ANSWERS: dict[str, Callable[[Known, dict[str, Any]], None]] = {
    "Words in texts, with highlights": words,
    "What the hits are made of": facets,
    "A flow from its beginning to its end": flow,
    "Errors over time": errors,
    "Everything with a value in an attribute": attribute,
    "How many users, and how slow": users,
}


@pytest.fixture(scope="module")
def known(stack: TestStack) -> Known:
    stack.ok("search", "maintain")
    return Known(stack)


def test_each_search_of_the_page_has_an_answer() -> None:
    assert set(SEARCHES) == set(ANSWERS)


@pytest.mark.parametrize("title", sorted(ANSWERS))
def test_it_answers_what_the_events_say(known: Known, title: str) -> None:
    ANSWERS[title](known, known.ask(title))
