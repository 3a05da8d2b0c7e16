"""Kafka into both stores, the whole topic: the jobs beside what people would write instead.

python -m bench.sinks [--events N] [--more N] --peers PYTHON
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Consumer, TopicPartition
from kafka import KafkaAdminClient

from bench.kit import PeakMemory, cpu_seconds, machine, pace, write_result
from bench.picture import Chart, draw
from bench.sink_records import fill_clean
from bench.sink_stores import Index, Table, Target, server_seconds
from control.settings import PROJECT_ROOT
from jobs.sink_plans import search_plan, timescale_plan
from tests.kit.jobs import end_job
from tests.kit.outcome import CLEAN
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

_BATCH = 5_000
_POLL_SECONDS = 0.25
# Much longer than the slowest of them takes: something is wrong then.
_PATIENCE_SECONDS = 1_800
_SCHEMA = str(PROJECT_ROOT / "schemas" / "clean" / "v1.avsc")
# Of the size that the same events had before: then it is worth to count.
_NEARLY = 0.98


class Bench:
    """One store, filled again and again from the same topic."""

    def __init__(self, stack: TestStack, target: Target, python: str, count: int) -> None:
        self._stack, self._target, self._python, self._count = stack, target, python, count
        self._bootstrap = stack.settings().kafka_bootstrap
        self._full = 0
        self._content = ""

    def rows(self) -> dict[str, dict[str, Any]]:
        """Measure everything once."""
        kind = self._target.kind
        command = [self._target.address, self._bootstrap, CLEAN]
        loop = ["-m", "bench.peers.sink_loop", kind, *command]
        quix = ["-m", "bench.peers.sink_quix", kind, *command]
        wax = ["-m", "bytewax.run", "bench.peers.sink_bytewax:flow", "-w", "2"]
        one, two = ([*loop, f"bench-{kind}-loop-{processes}", _SCHEMA] for processes in (1, 2))
        steps: dict[str, Callable[[], dict[str, Any]]] = {
            "loop, 1 process": lambda: self._peers([one]),
            "loop, 2 processes": lambda: self._peers([two, two]),
            "Bytewax, 2 workers": lambda: self._peers([wax]),
            "Quix Streams": lambda: self._peers([[*quix, f"bench-{kind}-quix", _SCHEMA]]),
            f"job {kind}, parallelism 1": lambda: self.job(1),
            f"job {kind}, parallelism 2": lambda: self.job(2),
            "raw writes": self._raw,
        }
        found = {}
        for name, step in steps.items():
            self._target.clear()
            begun = server_seconds(self._stack, self._target)
            found[name] = step()
            found[name]["server_cpu_s"] = round(
                server_seconds(self._stack, self._target) - begun, 1
            )
            found[name]["same_content"] = self._same()
            found[name]["empty_loop_ns"] = round(pace(), 1)
            print(f"{kind}: {name}: {found[name]}", flush=True)
        return found

    def _same(self) -> bool:
        content = self._target.content()
        self._content = self._content or content
        self._full = self._full or self._target.size()
        return content == self._content and self._target.count() == self._count

    def _peers(self, commands: list[list[str]]) -> dict[str, Any]:
        environment = {
            **os.environ, "KIND": self._target.kind, "ADDRESS": self._target.address,
            "BOOTSTRAP": self._bootstrap, "TOPIC": CLEAN, "SCHEMA_FILE": _SCHEMA,
        }
        running = [
            subprocess.Popen([self._python, *command], stdout=subprocess.PIPE, text=True,
                             cwd=PROJECT_ROOT, env=environment)
            for command in commands
        ]
        with PeakMemory([psutil.Process(one.pid) for one in running]) as memory:
            lines = [line for one in running for line in one.communicate()[0].splitlines()]
        parts = [json.loads(line) for line in lines if line.startswith("{")]
        parts = [part for part in parts if part["events"]]
        seconds = max(part["ended"] for part in parts) - min(part["begun"] for part in parts)
        # Bytewax's workers share a process, and each reports it: the last one has it all.
        cpu = (sum(part["cpu_s"] for part in parts) if len(running) > 1
               else max(part["cpu_s"] for part in parts))
        return self._row(sum(part["events"] for part in parts), seconds, cpu, memory.peak)

    def job(self, parallelism: int, count: int = 0) -> dict[str, Any]:
        """Let the job read the whole topic."""
        kind, count = self._target.kind, count or self._count
        forget_group(self._bootstrap, f"sluice-{kind}")
        processes = [psutil.Process(entry["pid"]) for name, entry in self._stack.status().items()
                     if name.startswith(("taskmanager", "jobmanager"))]
        before = cpu_seconds(processes)
        nearly = self._full * count / self._count * _NEARLY
        with PeakMemory(processes) as memory:
            self._stack.ok("deploy", kind, "--fresh", "--yes", **{
                f"SLUICE_{kind.upper()}_PARALLELISM": str(parallelism),
            })
            begun = wait_until(
                "the first event", lambda: time.monotonic() if self._target.size() else None,
                _PATIENCE_SECONDS, pause=_POLL_SECONDS,
            )
            wait_until("nearly all", lambda: self._target.size() >= nearly, _PATIENCE_SECONDS,
                       pause=_POLL_SECONDS)
            wait_until("all", lambda: self._target.count() >= count, _PATIENCE_SECONDS,
                       pause=_POLL_SECONDS)
            seconds = time.monotonic() - begun
            cpu = cpu_seconds(processes) - before
        end_job(self._stack, kind)
        return self._row(count, seconds, cpu, memory.peak)

    def _raw(self) -> dict[str, Any]:
        """Write what is made before: nothing can be faster over one connection."""
        settings = self._stack.settings()
        plan = timescale_plan if self._target.kind == "timescale" else search_plan
        # Its inside, as what is made and what is written is timed apart.
        store: Any = plan(settings).open_sink()._store  # noqa: SLF001
        seconds = cpu = 0.0
        done = 0
        for messages in batches(self._bootstrap, self._count):
            items = [store.item(message) for message in messages]
            begun, used = time.monotonic(), time.process_time()
            store.write(items)
            seconds += time.monotonic() - begun
            cpu += time.process_time() - used
            done += len(messages)
        return self._row(done, seconds, cpu, 0)

    @staticmethod
    def _row(count: int, seconds: float, cpu: float, memory: float) -> dict[str, Any]:
        return {
            "events": count, "seconds": round(seconds, 1), "events_per_s": round(count / seconds),
            "cpu_s": round(cpu, 1), "cpu_s_per_million": round(cpu / count * 1e6, 1),
            "peak_memory_mb": round(memory),
        }


def batches(bootstrap: str, count: int) -> "list[list[bytes]]":
    """Return the first records of the topic in batches."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-raw"})
    parts = consumer.list_topics(CLEAN).topics[CLEAN].partitions
    consumer.assign([TopicPartition(CLEAN, part, 0) for part in parts])
    found: list[list[bytes]] = []
    left = count
    while left:
        messages = consumer.consume(min(_BATCH, left), timeout=5)
        left -= len(messages)
        found.append([message.value() for message in messages])
    consumer.close()
    return found


def forget_group(bootstrap: str, group: str) -> None:
    """Let the next start read from the beginning."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.delete_groups([group])
    admin.close()


def main() -> int:
    """Measure, print, write the result and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--more", type=int, default=4_000_000, help="for the marginal cost")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has the peers")
    arguments = parser.parse_args()
    stack = TestStack(PROJECT_ROOT / ".sluice" / "bench")
    stack.destroy()
    result: dict[str, Any] = machine()
    try:
        stack.ok("stack", "up")
        stack.ok("db", "migrate")
        fill_clean(stack, arguments.events)
        targets: list[Target] = [Table(stack), Index(stack)]
        benches = [Bench(stack, target, arguments.peers, arguments.events) for target in targets]
        for target, bench in zip(targets, benches, strict=True):
            result[target.kind] = bench.rows()
        if arguments.more:
            fill_clean(stack, arguments.more)
            total = arguments.events + arguments.more
            for target, bench in zip(targets, benches, strict=True):
                target.clear()
                result[target.kind]["marginal"] = marginal(
                    result[target.kind][f"job {target.kind}, parallelism 1"],
                    bench.job(1, total),
                )
                print(f"{target.kind}: {result[target.kind]['marginal']}", flush=True)
    finally:
        stack.destroy()
    picture(result, write_result("sinks", result))
    return 0


def marginal(small: dict[str, Any], large: dict[str, Any]) -> dict[str, Any]:
    """Return what the events cost beyond the start: the difference of two runs."""
    events = large["events"] - small["events"]
    return {
        "large": large,
        "events_per_s": round(events / (large["seconds"] - small["seconds"])),
        "cpu_s_per_million": round((large["cpu_s"] - small["cpu_s"]) / events * 1e6, 1),
    }


def picture(result: dict[str, Any], file: Path) -> None:
    """Draw what was measured."""
    draw([
        Chart(f"{title}: {what}", unit, [
            (name, row[key]) for name, row in result[kind].items()
        ])
        for kind, title in (("timescale", "Into PostgreSQL"), ("search", "Into Elasticsearch"))
        for what, key, unit in (("throughput", "events_per_s", "events/s"),
                                ("CPU of the writer", "cpu_s_per_million", "s per million"))
    ], file.with_suffix(".svg"))


if __name__ == "__main__":
    sys.exit(main())
