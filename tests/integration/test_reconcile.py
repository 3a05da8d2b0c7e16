"""`sluice reconcile` with real servers: finds and mends what was taken, added or changed."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.kit.databases import execute
from tests.kit.jobs import running_job
from tests.kit.sinks import Clean, CleanMaker, await_documents, await_rows, rows, send_clean
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until


@pytest.fixture(scope="module")
def sinks(stack: TestStack) -> Iterator[TestStack]:
    """Yield the whole stack with both sinks running."""
    stack.ok("db", "migrate")
    stack.ok("search", "maintain")
    with ExitStack() as jobs:
        for name in ("timescale", "search"):
            jobs.enter_context(running_job(stack, name))
        yield stack


class Sent:
    """Events that both stores hold, and the moment before the first of them."""

    def __init__(self, stack: TestStack, count: int, seed: int) -> None:
        self.stack = stack
        self.since = datetime.now(UTC).isoformat()
        self.maker = maker = CleanMaker(stack)
        self.records = maker.make(count, seed, late=0.05)
        # What has more than one way to be written.
        self.records[-3:] = [
            maker.changed(self.records[-3], text="tab\t, \\ and \u001f", duration_ms=1e-7,
                          attributes={"b": "", "aa": "1", "é": "\n\u0001\x7f", "a\"": "🙂"}),
            maker.changed(self.records[-2], duration_ms=1e300, amount=Decimal("-0.0001")),
            maker.changed(self.records[-1], duration_ms=-0.0, amount=Decimal("9999999999.1")),
        ]
        send_clean(stack, self.records)
        await_rows(stack, self.records)
        await_documents(stack, self.records)
        wait_until("all surely written", lambda: self.compare()[1]["events"] == count, 60, pause=1)

    def compare(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Return reconcile's exit code and what it says."""
        done = self.stack.run("reconcile", "--from", self.since, "--json", *options)
        assert done.returncode in (0, 1, 3), done.stderr
        # Refused: the jobs have surely written nothing of the span yet.
        found = json.loads(done.stdout) if done.returncode < 3 else {"events": 0}
        return done.returncode, found

    def ids(self, first: int, end: int) -> list[str]:
        """Return the ids of some of the events."""
        return sorted(record.id for record in self.records[first:end])


def index_of(record: Clean) -> str:
    """Return the index that an event's document is in."""
    return f"events-{record.fields['occurred_at']:%Y.%m.%d}"


def in_search(stack: TestStack, method: str, record: Clean, body: object = None) -> None:
    """Change a document behind everybody's back."""
    url = stack.settings().elasticsearch_url.get_secret_value()
    path = f"{'_update' if method == 'POST' else '_doc'}/{record.id}"
    httpx.request(
        method, f"{url}/{index_of(record)}/{path}", json=body, timeout=30
    ).raise_for_status()


def by_store(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["store"]: entry for entry in found["stores"]}


def test_what_is_whole_is_equal(sinks: TestStack) -> None:
    sent = Sent(sinks, 3_000, seed=301)
    code, found = sent.compare()
    assert (code, found["equal"], found["unreadable"]) == (0, True, 0)
    for store in by_store(found).values():
        assert store["expected"] == store["held"] == 3_000
        assert store["differing_buckets"] == 0
    page = sinks.run("reconcile", "--from", sent.since)
    assert page.returncode == 0
    assert "3,000 committed events" in page.stdout
    assert page.stdout.count("equal") == 2


def test_each_kind_of_difference_is_found_and_mended(sinks: TestStack) -> None:
    sent = Sent(sinks, 2_000, seed=302)
    records = sent.records
    execute(sinks, "DELETE FROM events WHERE event_id = ANY(%s::uuid[])", sent.ids(0, 20))
    execute(sinks, "UPDATE events SET attributes = '{\"a\": \"b\"}', amount = 1"
                   " WHERE event_id = ANY(%s::uuid[])", sent.ids(20, 25))
    stranger = "00000000-0000-4000-8000-0000000000aa"
    execute(sinks, "INSERT INTO events SELECT (jsonb_populate_record(e, jsonb_build_object("
                   "'event_id', %s::text))).* FROM events e WHERE event_id = %s::uuid",
            stranger, records[30].id)
    for record in records[40:43]:
        in_search(sinks, "DELETE", record)
    in_search(sinks, "POST", records[50], {"doc": {"digest_low": 1}})
    code, found = sent.compare()
    table, index = by_store(found)["timescale"], by_store(found)["search"]
    assert (code, found["equal"], table["equal"], index["equal"]) == (1, False, False, False)
    assert table["missing"] == {"count": 20, "sample": sent.ids(0, 20)[:10]}
    assert table["different"] == {"count": 5, "sample": sent.ids(20, 25)}
    assert table["extra"] == {"count": 1, "sample": [stranger]}
    assert index["missing"] == {"count": 3, "sample": sent.ids(40, 43)}
    assert index["different"] == {"count": 1, "sample": [records[50].id]}
    assert index["extra"]["count"] == 0
    page = sinks.run("reconcile", "--from", sent.since)
    assert page.returncode == 1
    assert "20 missing from TimescaleDB" in page.stdout
    assert "Do: sluice reconcile --repair" in page.stdout
    assert stranger in page.stdout

    # What is not committed is nobody's to delete here.
    code, found = sent.compare("--repair")
    assert code == 1
    assert by_store(found)["timescale"]["repaired"] == 25
    assert by_store(found)["search"]["repaired"] == 4
    execute(sinks, "DELETE FROM events WHERE event_id = %s::uuid", stranger)
    assert sent.compare()[0] == 0
    await_rows(sinks, records, 5)
    await_documents(sinks, records, 5)


def test_an_event_that_stands_twice_is_found(sinks: TestStack) -> None:
    sent = Sent(sinks, 500, seed=303)
    twice = sent.records[0].id
    execute(sinks, "INSERT INTO events SELECT (jsonb_populate_record(e, jsonb_build_object("
                   "'occurred_at', occurred_at + interval '1 second'))).*"
                   " FROM events e WHERE event_id = %s::uuid", twice)
    code, found = sent.compare("--store", "timescale")
    assert code == 1
    assert by_store(found)["timescale"]["extra"]["sample"] == [twice]
    execute(sinks, "DELETE FROM events WHERE event_id = %s::uuid AND occurred_at <> %s", twice,
            sent.records[0].fields["occurred_at"])
    assert rows(sinks, [twice])
    assert sent.compare()[0] == 0


def test_a_copy_is_not_expected_twice(sinks: TestStack) -> None:
    sent = Sent(sinks, 300, seed=305)
    copies = [
        sent.maker.changed(record, cleaned_at=record.fields["cleaned_at"] + timedelta(seconds=1))
        for record in sent.records[:100]
    ]
    send_clean(sinks, copies)

    def counted() -> dict[str, Any] | None:
        found = sent.compare()[1]
        return found if found["events"] == 400 else None

    found = wait_until("the copies are counted", counted, 60, pause=1)
    assert found["equal"]
    for store in by_store(found).values():
        assert store["expected"] == store["held"] == 300
    await_rows(sinks, copies)
    await_documents(sinks, copies)


def test_what_a_store_refused_is_not_missing(sinks: TestStack) -> None:
    maker = CleanMaker(sinks)
    since = datetime.now(UTC).isoformat()
    records = maker.make(400, seed=304)
    # A zero byte is refused by PostgreSQL alone, a huge term by Elasticsearch alone.
    records[0] = maker.changed(records[0], text="a zero \0 byte")
    records[1] = maker.changed(records[1], attributes={"long": "x" * 40_000})
    send_clean(sinks, records)

    def equal() -> dict[str, Any] | None:
        done = sinks.run("reconcile", "--from", since, "--json")
        if done.returncode == 3:
            return None
        found: dict[str, Any] = json.loads(done.stdout)
        return found if found["equal"] and found["events"] == 400 else None

    found = wait_until("equal but for the refused", equal, 90, pause=1)
    for store in by_store(found).values():
        assert store["held"] == 399


def test_it_compares_while_events_arrive(sinks: TestStack) -> None:
    maker = CleanMaker(sinks)
    since = datetime.now(UTC).isoformat()
    stop = threading.Event()

    def send() -> None:
        seed = 310_000
        while not stop.is_set():
            send_clean(sinks, maker.make(300, seed))
            seed += 1

    def compare(accepted: tuple[int, ...]) -> dict[str, Any]:
        done = sinks.run("reconcile", "--from", since, "--json")
        assert done.returncode in accepted, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    sender = threading.Thread(target=send)
    sender.start()
    try:
        # Refused until the jobs have surely written something of the span; never different.
        seen = [wait_until("something to compare", lambda: compare(accepted=(0, 3)), 60, pause=1)]

        def more() -> bool:
            seen.append(compare(accepted=(0,)))
            return len(seen) > 3 and seen[-1]["events"] > max(300, seen[0]["events"])

        wait_until("three comparisons, of more and more", more, 60)
        assert all(found["equal"] for found in seen)
    finally:
        stop.set()
        sender.join()


def test_a_span_is_a_span(sinks: TestStack) -> None:
    sent = Sent(sinks, 300, seed=399_001)
    times = sorted(record.fields["cleaned_at"] for record in sent.records)
    middle = times[150]
    _, before = sent.compare("--to", middle.isoformat())
    assert before["events"] == sum(moment < middle for moment in times)
    done = sinks.run("reconcile", "--from", middle.isoformat(), "--json")
    assert json.loads(done.stdout)["events"] == sum(moment >= middle for moment in times)


def test_a_span_that_ends_before_it_begins_is_refused(stack: TestStack) -> None:
    done = stack.run("reconcile", "--from", "2026-01-02", "--to", "2026-01-01")
    assert done.returncode == 2
    assert "--from is not before --to" in done.stderr
