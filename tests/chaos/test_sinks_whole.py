"""The sinks under everything that can happen to them, in a row."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.kit.ingest import running_ingest
from tests.kit.jobs import running_job
from tests.kit.sink_faults import VICTIMS, SinkLoad, await_written, kill_in_turn, left
from tests.kit.small_disk import free_bytes, small_disk
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

_RATE = 600
_MEBI = 2**20


@pytest.fixture(scope="module")
def jobs(stack: TestStack) -> Iterator[dict[str, str]]:
    """Yield the three jobs, running: names and ids."""
    stack.ok("db", "migrate")
    with (
        running_ingest(stack) as ingest, running_job(stack, "timescale") as timescale,
        running_job(stack, "search") as search,
    ):
        yield {"ingest": ingest, "timescale": timescale, "search": search}


def test_everything_dies_in_a_row(
    stack: TestStack, jobs: dict[str, str], tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    with SinkLoad(stack, tmp_path, _RATE, seed=7_000) as load:
        kill_in_turn(stack, jobs, VICTIMS, random.Random(71))
        _stop_postgres(stack, seconds=60)
        _fill_a_small_disk(stack)
        record_property("timescale_left_while_search_was_dead",
                        _search_is_dead(stack, seconds=300))
    for name, count in load.check(900).items():
        record_property(name, count)


def _stop_postgres(stack: TestStack, seconds: float) -> None:
    print(f"PostgreSQL stopped for {seconds:.0f} s")
    os.kill(stack.pid("postgres"), signal.SIGINT)
    time.sleep(seconds)
    stack.ok("stack", "up")


def _fill_a_small_disk(stack: TestStack) -> None:
    """Move the table to a disk that is soon full; make room once writing has stopped."""
    server = psutil.Process(stack.pid("postgres")).uids().real
    with psycopg.connect(
        stack.settings().timescale_dsn.get_secret_value(), autocommit=True
    ) as database:
        data, size = database.execute(
            "SELECT current_setting('data_directory'), pg_table_size('public.events')"
        ).fetchone() or ("", 0)
        folder = Path(data).parent / "small-disk"
        with small_disk(folder, size + 6 * _MEBI, server) as grow:
            database.execute(f"CREATE TABLESPACE small LOCATION '{folder}'".encode())
            database.execute("ALTER TABLE public.events SET TABLESPACE small")
            before = left(stack)["timescale"]
            wait_until("the disk is full", lambda: free_bytes(folder) < _MEBI // 4, 240, pause=1)
            wait_until("it waits",
                       lambda: left(stack)["timescale"] > before + 10_000, 240, pause=1)
            print("the disk is full, and timescale waits")
            grow()
            await_written(stack, 600, "timescale")
            database.execute("ALTER TABLE public.events SET TABLESPACE pg_default")
            database.execute("DROP TABLESPACE small")


def _search_is_dead(stack: TestStack, seconds: float) -> list[int]:
    """Kill Elasticsearch for a while; return what timescale had left to write, every 10 s."""
    print(f"Elasticsearch dead for {seconds:.0f} s")
    stack.kill("elasticsearch")
    seen = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(10)
        seen.append(left(stack)["timescale"])
    assert left(stack)["search"] > seconds * _RATE / 4
    # What it has left is what came since its last checkpoint, not what search has left.
    assert max(seen) < 30 * _RATE, seen
    stack.ok("stack", "up")
    return seen
