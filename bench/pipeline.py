"""All three jobs together: from the producer to the committed row, and how much they stand.

python -m bench.pipeline [--minutes 5]
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg
from confluent_kafka import Consumer, TopicPartition

from bench.kit import cpu_seconds, machine, pace, write_result
from bench.picture import Chart, draw
from bench.sink_records import replay
from bench.sink_stores import Index, Table
from control.settings import PROJECT_ROOT
from tests.kit.ingest import running_ingest
from tests.kit.jobs import running_job
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until, wait_until_steady

_RAW = "events.raw"
_TEMPLATES = 10_000
_WARM_UP_SECONDS = 15
# A job runs for weeks; Java needs some minutes until it has compiled what is hot.
_FIRST_WARM_UP = 2_000, 180
_TRY_SECONDS = 60
_RATES = (1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000, 12_000)
_SAMPLE_SECONDS = 2.0
# The statistics of PostgreSQL come some seconds late.
_QUIET_SECONDS = 12
# Rows may be behind by a batch and a checkpoint's pause; what grows beyond that is a backlog.
_FLAT_SECONDS = 2.0


@dataclass
class Lag:
    """How many events each store is behind what was sent, sampled while it is sent."""

    table: list[int] = field(default_factory=list)
    index: list[int] = field(default_factory=list)

    def is_flat(self, rate: int) -> bool:
        """Tell whether neither store fell further behind."""
        return all(_mean(row[-len(row) // 3:]) <= _mean(row[len(row) // 3:-len(row) // 3])
                   + _FLAT_SECONDS * rate and row[-1] < 5 * rate
                   for row in (self.table, self.index))


class Pipeline:
    """Three jobs that run, and events for them."""

    def __init__(self, stack: TestStack) -> None:
        self._stack = stack
        self._table, self._index = Table(stack), Index(stack)
        self._templates = _raw_events(stack)
        self._database = psycopg.connect(self._table.address, autocommit=True)

    def settle(self) -> None:
        """Wait until both stores have written all they were sent, and say so."""
        wait_until_steady(
            "both stores at rest", lambda: (self._table.written(), self._index.size()),
            _QUIET_SECONDS, 900,
        )

    def send(self, rate: int, seconds: float) -> int:
        """Send raw events at a rate; return how many."""
        return replay(self._stack, _RAW, self._templates, rate, seconds)

    def latency(self, rate: int, seconds: float) -> dict[str, float]:
        """Return percentiles in ms from the broker's taking an event to its row's commit."""
        self.settle()
        self.send(rate, _WARM_UP_SECONDS)
        row = self._database.execute("SELECT now()").fetchone()
        sent = self.send(rate, seconds)
        query = "SELECT count(*) FROM public.events WHERE received_at >= %s"
        wait_until("all rows", lambda: self._one(query, row) >= sent, 300, pause=1)
        found = self._database.execute(
            "SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY extract("
            " epoch FROM pg_xact_commit_timestamp(xmin) - received_at) * 1000)"
            " FROM public.events WHERE received_at >= %s", row,
        ).fetchone()
        return dict(zip(("p50", "p95", "p99"),
                        (round(value, 1) for value in (found or [[]])[0]), strict=True))

    def _one(self, query: str, values: Any = None) -> int:
        row = self._database.execute(query.encode(), values).fetchone()
        return int(row[0]) if row else 0

    def stand(self, rate: int, seconds: float) -> Lag:
        """Send at a rate; return how the stores' lag went. Waits until all is written."""
        self.settle()
        lag = Lag()
        sent_before = self._sent()
        tables, indexed = self._table.written(), self._index.size()
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(_SAMPLE_SECONDS):
                sent = self._sent() - sent_before
                lag.table.append(sent - (self._table.written() - tables))
                lag.index.append(sent - (self._index.size() - indexed))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            sent = self.send(rate, seconds)
        finally:
            stop.set()
            watcher.join()
        wait_until("all rows", lambda: self._table.written() >= tables + sent, 900, pause=1)
        wait_until("all documents", lambda: self._index.size() >= indexed + sent, 900, pause=1)
        return lag

    def _sent(self) -> int:
        return _end(self._stack, _RAW)

    @contextmanager
    def cpu(self) -> Iterator[dict[str, float]]:
        """Fill in the CPU seconds that each server takes in the block."""
        processes = {name: psutil.Process(entry["pid"])
                     for name, entry in self._stack.status().items()}
        before = {name: cpu_seconds([process]) for name, process in processes.items()}
        own = time.process_time()
        found: dict[str, float] = {}
        yield found
        found.update({name: round(cpu_seconds([process]) - before[name], 1)
                      for name, process in processes.items()})
        found["the load itself"] = round(time.process_time() - own, 1)


def _raw_events(stack: TestStack) -> list[tuple[bytes, bytes]]:
    stack.ok("events", "produce", "--count", str(_TEMPLATES), "--seed", "5")
    consumer = Consumer({"bootstrap.servers": stack.settings().kafka_bootstrap,
                         "group.id": "bench-raw"})
    parts = consumer.list_topics(_RAW).topics[_RAW].partitions
    consumer.assign([TopicPartition(_RAW, part, 0) for part in parts])
    found: list[tuple[bytes, bytes]] = []
    while len(found) < _TEMPLATES:
        found += [(message.key() or b"", message.value())
                  for message in consumer.consume(1_000, timeout=5)]
    consumer.close()
    return found


def _end(stack: TestStack, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": stack.settings().kafka_bootstrap,
                         "group.id": "bench"})
    parts = consumer.list_topics(topic).topics[topic].partitions
    total: int = sum(consumer.get_watermark_offsets(TopicPartition(topic, part), cached=False)[1]
                for part in parts)
    consumer.close()
    return total


def _mean(values: Sequence[int]) -> float:
    return sum(values) / max(1, len(values))


def _remember_commits(stack: TestStack) -> None:
    """Let PostgreSQL write down when each transaction was committed."""
    with psycopg.connect(
        stack.settings().timescale_dsn.get_secret_value(), autocommit=True
    ) as database:
        database.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    os.kill(stack.pid("postgres"), signal.SIGINT)
    time.sleep(3)
    stack.ok("stack", "up")


def main() -> int:
    """Measure, print, write the result and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--latency-seconds", type=float, default=60)
    arguments = parser.parse_args()
    stack = TestStack(PROJECT_ROOT / ".sluice" / "bench")
    stack.destroy()
    result: dict[str, Any] = machine()
    try:
        stack.ok("stack", "up")
        stack.ok("db", "migrate")
        _remember_commits(stack)
        with ExitStack() as jobs:
            jobs.enter_context(running_ingest(stack))
            jobs.enter_context(running_job(stack, "timescale"))
            jobs.enter_context(running_job(stack, "search"))
            _measure(Pipeline(stack), result, arguments.minutes * 60, arguments.latency_seconds)
    finally:
        stack.destroy()
    file = write_result("pipeline", result)
    draw([
        Chart("Produced to committed row", "ms", [
            (f"{rate}, {name}", row[name]) for rate, row in result["latency_ms"].items()
            for name in ("p50", "p95", "p99")
        ]),
        Chart("CPU at the highest rate", "% of a core", list(result["stands"]["cpu"].items())),
    ], file.with_suffix(".svg"))
    return 0


def _measure(pipeline: Pipeline, result: dict[str, Any], long: float, latency: float) -> None:
    pipeline.send(*_FIRST_WARM_UP)
    result["latency_ms"] = {}
    for rate in (1_000, 2_500, 5_000):
        result["latency_ms"][f"{rate}/s"] = pipeline.latency(rate, latency)
        result["latency_ms"][f"{rate}/s"]["empty_loop_ns"] = round(pace(), 1)
        print(rate, result["latency_ms"], flush=True)
    tried = result["tried"] = {}
    held: list[int] = []
    for rate in _RATES:
        before = pace()
        lag = pipeline.stand(rate, _TRY_SECONDS)
        flat = lag.is_flat(rate)
        tried[f"{rate}/s"] = {"flat": flat, "empty_loop_ns": [round(before, 1), round(pace(), 1)]}
        print(rate, tried[f"{rate}/s"], lag, flush=True)
        if not flat:
            break
        held.append(rate)
    # What stands a minute may not stand five.
    for rate in reversed(held):
        with pipeline.cpu() as used:
            begun = time.monotonic()
            lag = pipeline.stand(rate, long)
            seconds = time.monotonic() - begun
        found = {
            "events_per_s": rate, "seconds": long, "flat": lag.is_flat(rate),
            "empty_loop_ns": round(pace(), 1),
            "highest_lag": {"table": max(lag.table), "index": max(lag.index)},
            "cpu": {name: round(value / seconds * 100, 1) for name, value in used.items()},
        }
        print(found, flush=True)
        if found["flat"]:
            result["stands"] = found
            return
        tried[f"{rate}/s, long"] = found
    message = f"not even {_RATES[0]} events/s: is the machine busy?"
    raise SystemExit(message)


if __name__ == "__main__":
    sys.exit(main())
