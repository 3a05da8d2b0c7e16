"""Job timescale with real servers: every event in the table once, what is refused in a letter."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.kit import flink
from tests.kit.databases import execute
from tests.kit.jobs import end_job, job_id, restarts, running_job
from tests.kit.outcome import Outlet
from tests.kit.sinks import Clean, CleanMaker, await_rows, rows, send_clean
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until


@pytest.fixture(scope="module")
def sink(stack: TestStack) -> Iterator[TestStack]:
    """Yield the whole stack, migrated, with timescale running."""
    stack.ok("db", "migrate")
    with running_job(stack, "timescale"):
        yield stack


@pytest.fixture(scope="module")
def maker(stack: TestStack) -> CleanMaker:
    return CleanMaker(stack)


def test_rows_say_what_the_events_say(sink: TestStack, maker: CleanMaker) -> None:
    records = maker.make(3_000, seed=101, late=0.05)
    awkward = [
        maker.changed(records[0], text="tab\there, line\nthere, \\ and \\N", attributes={}),
        maker.changed(records[1], text="", attributes={"ключ\"\\": "välue\n\t\u0001 🙂"}),
        maker.changed(records[2], duration_ms=float("inf"), entity_id="x" * 5_000),
    ]
    records[:3] = awkward
    send_clean(sink, records)
    await_rows(sink, records)
    job = job_id(sink, "timescale")
    wait_until("they are counted",
               lambda: sum(flink.metric(sink, job, "sluice.events_written")) >= 3_000)


def test_the_newer_copy_counts_whatever_their_order(sink: TestStack, maker: CleanMaker) -> None:
    first, second, third = maker.make(3, seed=102)
    later = {"cleaned_at": first.fields["cleaned_at"] + timedelta(seconds=5)}
    newer = [maker.changed(record, source="corrected", **later) for record in
             (first, second, third)]
    # Before it, in the same batch, and after it; an equal copy changes nothing.
    send_clean(sink, [first, newer[1], second, third, newer[2]])
    await_rows(sink, [first, newer[1], newer[2]])
    send_clean(sink, [newer[0], third, second])
    wait_until("the newer copy", lambda: rows(sink, [first.id])[first.id]["source"] == "corrected")
    await_rows(sink, newer)


def _letters(outlet: Outlet, count: int) -> list[dict[str, Any]]:
    return outlet.read(lambda found: len(found.letters) >= count, 60).letters


def test_refused_rows_become_letters_and_the_rest_is_written(
    sink: TestStack, maker: CleanMaker
) -> None:
    outlet = Outlet(sink.settings().kafka_bootstrap)
    records = maker.make(5_000, seed=103)
    # A constraint of the table, and a value that no PostgreSQL takes.
    bad = [
        maker.changed(record, source="refuse me") if place % 100 else
        maker.changed(record, text="a zero \0 byte")
        for place, record in enumerate(records) if place % 50 == 0
    ]
    records[::50] = bad
    execute(sink, "ALTER TABLE public.events ADD CONSTRAINT test_refuses"
                  " CHECK (source <> 'refuse me')")
    try:
        send_clean(sink, records)
        good = [record for record in records if record not in bad]
        await_rows(sink, good)
        letters = _letters(outlet, len(bad))
    finally:
        execute(sink, "ALTER TABLE public.events DROP CONSTRAINT test_refuses")
    assert not rows(sink, [record.id for record in bad])
    assert sorted(letter["event_id"] for letter in letters) == sorted(r.id for r in bad)
    by_id = {record.id: record for record in bad}
    for letter in letters:
        record = by_id[letter["event_id"]]
        assert letter["payload"] == record.value
        assert (letter["stage"], letter["reason"]) == ("timescale", "refused")
        wanted = "test_refuses" if record.fields["source"] == "refuse me" else "0x00"
        assert wanted in letter["detail"]


def test_junk_in_the_topic_becomes_a_letter(sink: TestStack, maker: CleanMaker) -> None:
    outlet = Outlet(sink.settings().kafka_bootstrap)
    (sound,) = maker.make(1, seed=104)
    junk = Clean(sound.value[:-3], sound.fields)
    send_clean(sink, [junk, sound])
    await_rows(sink, [sound])
    (letter,) = _letters(outlet, 1)
    assert letter["payload"] == junk.value
    assert letter["reason"] == "undecodable"


def test_it_waits_for_a_database_that_is_down(sink: TestStack, maker: CleanMaker) -> None:
    job = job_id(sink, "timescale")
    wait_until("running", lambda: flink.is_running(sink, job), 120)
    before = restarts(sink, job)
    records = maker.make(8_000, seed=120)
    send_clean(sink, records[:2_000])
    # PostgreSQL's fast shutdown: it says goodbye to everybody.
    os.kill(sink.pid("postgres"), signal.SIGINT)
    send_clean(sink, records[2_000:])
    # Longer than a checkpoint's time-out would be noticed in the long form.
    time.sleep(20)
    assert flink.is_running(sink, job)
    sink.ok("stack", "up")
    await_rows(sink, records, 180)
    assert restarts(sink, job) == before


def test_a_savepoint_keeps_the_place(sink: TestStack, maker: CleanMaker) -> None:
    records = maker.make(4_000, seed=130)
    send_clean(sink, records[:1_000])
    savepoint = flink.stop_with_savepoint(sink, job_id(sink, "timescale"))
    send_clean(sink, records[1_000:])
    sink.ok("deploy", "timescale", "--from", savepoint)
    await_rows(sink, records)


def test_it_is_not_started_without_its_table(stack: TestStack) -> None:
    end_job(stack, "timescale")
    execute(stack, "ALTER TABLE public.events RENAME TO events_elsewhere")
    try:
        done = stack.run("deploy", "timescale", "--fresh", "--yes")
    finally:
        execute(stack, "ALTER TABLE public.events_elsewhere RENAME TO events")
    assert done.returncode == 3
    assert "no table events" in done.stderr
    assert "sluice db migrate" in done.stderr
