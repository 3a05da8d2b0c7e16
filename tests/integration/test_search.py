"""Job search with real servers: every event can be found once, what is refused is in a letter."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.kit import flink
from tests.kit.jobs import end_job, job_id, restarts, running_job
from tests.kit.outcome import Outlet
from tests.kit.sinks import CleanMaker, await_documents, documents, send_clean
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until
from udfs.documents import day_of, index_name


@pytest.fixture(scope="module")
def sink(stack: TestStack) -> Iterator[TestStack]:
    """Yield the whole stack with search running."""
    with running_job(stack, "search"):
        yield stack


@pytest.fixture(scope="module")
def maker(stack: TestStack) -> CleanMaker:
    return CleanMaker(stack)


def url(stack: TestStack) -> str:
    return stack.settings().elasticsearch_url.get_secret_value()


def test_documents_say_what_the_events_say(sink: TestStack, maker: CleanMaker) -> None:
    records = maker.make(3_000, seed=201, late=0.05)
    records[:2] = [
        maker.changed(records[0], text="tab\there, line\nthere", attributes={}),
        maker.changed(records[1], text="", attributes={"ключ\"\\": "välue\n\t\u0001 🙂"}),
    ]
    send_clean(sink, records)
    found = await_documents(sink, records)
    assert {document["_index"] for document in found.values()} == {
        f"events-{record.fields['occurred_at']:%Y.%m.%d}" for record in records
    }


def test_the_newer_copy_counts_whatever_their_order(sink: TestStack, maker: CleanMaker) -> None:
    first, second = maker.make(2, seed=202)
    later = {"cleaned_at": first.fields["cleaned_at"] + timedelta(seconds=5)}
    newer = [maker.changed(record, source="corrected", **later) for record in (first, second)]
    send_clean(sink, [first, newer[1], second])
    await_documents(sink, [first, newer[1]])
    send_clean(sink, [newer[0], second])
    wait_until("the newer copy",
               lambda: documents(sink, [first.id])[first.id]["source"] == "corrected")
    await_documents(sink, newer)


def test_refused_documents_become_letters_and_the_rest_is_written(
    sink: TestStack, maker: CleanMaker
) -> None:
    outlet = Outlet(sink.settings().kafka_bootstrap)
    records = maker.make(4_000, seed=203)
    # Lucene takes no term of more than 32,766 bytes; JSON has no infinity.
    bad = [maker.changed(record, attributes={"long": "x" * 40_000})
           for record in records[::100]]
    records[::100] = bad
    send_clean(sink, records)
    await_documents(sink, [record for record in records if record not in bad])
    letters = outlet.read(lambda found: len(found.letters) >= len(bad), 60).letters
    assert not documents(sink, [record.id for record in bad])
    assert sorted(letter["event_id"] for letter in letters) == sorted(r.id for r in bad)
    for letter in letters:
        assert (letter["stage"], letter["reason"]) == ("search", "refused")
        assert "failed to parse field [attributes]" in letter["detail"]


def test_what_is_no_longer_kept_becomes_a_letter_and_makes_no_index(
    sink: TestStack, maker: CleanMaker
) -> None:
    outlet = Outlet(sink.settings().kafka_bootstrap)
    old, fresh = maker.make(2, seed=204)
    long_ago = datetime.now(UTC) - timedelta(days=45)
    old = maker.changed(old, occurred_at=long_ago)
    send_clean(sink, [old, fresh])
    await_documents(sink, [fresh])
    (letter,) = outlet.read(lambda found: bool(found.letters), 60).letters
    assert (letter["stage"], letter["reason"]) == ("search", "expired")
    assert letter["payload"] == old.value
    index = f"events-{long_ago:%Y.%m.%d}"
    assert index in letter["detail"]
    assert httpx.head(f"{url(sink)}/{index}", timeout=30).status_code == 404


def test_two_tasks_meet_a_new_day_at_once(stack: TestStack, maker: CleanMaker) -> None:
    # Days that nobody has met.
    days = [datetime.now(UTC) - timedelta(days=count) for count in range(20, 26)]
    for day in days:
        httpx.delete(f"{url(stack)}/events-{day:%Y.%m.%d}", timeout=30)
    records = [
        maker.changed(record, occurred_at=days[place % len(days)])
        for place, record in enumerate(maker.make(600, seed=205))
    ]
    job = job_id(stack, "search")
    before = restarts(stack, job)
    send_clean(stack, records)
    found = await_documents(stack, records)
    assert len({document["_index"] for document in found.values()}) == len(days)
    assert restarts(stack, job) == before


def test_an_index_that_was_dropped_is_made_again_with_its_mapping(
    sink: TestStack, maker: CleanMaker
) -> None:
    first, second = maker.make(2, seed=206)
    send_clean(sink, [first])
    await_documents(sink, [first])
    today = index_name(day_of(f"events-{first.fields['occurred_at']:%Y.%m.%d}") or 0)
    httpx.delete(f"{url(sink)}/{today}", timeout=30).raise_for_status()
    send_clean(sink, [second])
    await_documents(sink, [second])
    mapping = httpx.get(f"{url(sink)}/{today}/_mapping", timeout=30).json()
    assert mapping[today]["mappings"]["dynamic"] == "strict"


def test_it_waits_for_a_dead_elasticsearch(sink: TestStack, maker: CleanMaker) -> None:
    job = job_id(sink, "search")
    wait_until("running", lambda: flink.is_running(sink, job), 120)
    before = restarts(sink, job)
    records = maker.make(6_000, seed=210)
    send_clean(sink, records[:2_000])
    sink.kill("elasticsearch")
    send_clean(sink, records[2_000:])
    time.sleep(8)
    assert flink.is_running(sink, job)
    sink.ok("stack", "up")
    await_documents(sink, records, 180)
    assert restarts(sink, job) == before


def test_a_savepoint_keeps_the_place(sink: TestStack, maker: CleanMaker) -> None:
    records = maker.make(3_000, seed=230)
    send_clean(sink, records[:1_000])
    savepoint = flink.stop_with_savepoint(sink, job_id(sink, "search"))
    send_clean(sink, records[1_000:])
    sink.ok("deploy", "search", "--from", savepoint, SLUICE_SEARCH_PARALLELISM="2")
    await_documents(sink, records)


def test_it_is_not_started_without_its_template(stack: TestStack) -> None:
    end_job(stack, "search")
    httpx.delete(f"{url(stack)}/_index_template/sluice-events", timeout=30).raise_for_status()
    done = stack.run("deploy", "search", "--fresh", "--yes")
    assert done.returncode == 3
    assert "version none of the events' template" in done.stderr
    assert "sluice search maintain" in done.stderr
    stack.ok("search", "maintain")
    stack.ok("deploy", "search", "--fresh", "--yes")
