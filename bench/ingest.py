"""Job ingest beside a hand-written loop: events/s, CPU, latency, state.

python -m bench.ingest [--events N] [--state MILLIONS,...]
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Consumer, TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from bench.ingest_latency import measure_latency
from bench.kit import cpu_seconds, machine, pace, result_file, write_result
from bench.picture import Chart, draw
from control.settings import PROJECT_ROOT
from tests.kit import flink
from tests.kit.jobs import end_job, job_id
from tests.kit.stack import TestStack

_PARTITIONS = 8
_POLL_SECONDS = 0.5
# A command of the tests' stack may take some minutes, not a quarter of an hour.
_KINDS = ("uncommitted", "committed")
_PIECE = 1_000_000
# The part of a run that is behind the start of JVM, planner and compilers.
_WARM = 0.4


def _end(bootstrap: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench"})
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, part), cached=False)[1]
            for part in range(_PARTITIONS)
        )
    finally:
        consumer.close()


def fill(stack: TestStack, count: int, seed: int = 1) -> None:
    """Send sound events with a twentieth of duplicates into events.raw."""
    stack.ok("events", "produce", "--count", str(count), "--duplicates", "0.05",
             "--seed", str(seed))


def forget_offsets(bootstrap: str) -> None:
    """Let the next start of ingest read from the beginning."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.delete_groups(["sluice-ingest"])
    admin.close()


def run_job(stack: TestStack, parallelism: int, count: int) -> dict[str, Any]:
    """Read the whole of events.raw once; return rates and CPU, whole and warm."""
    bootstrap = stack.settings().kafka_bootstrap
    forget_offsets(bootstrap)
    workers = [psutil.Process(entry["pid"]) for name, entry in stack.status().items()
               if name.startswith(("taskmanager", "jobmanager"))]
    first = _end(bootstrap, "events.clean")
    stack.ok("deploy", "ingest", "--fresh", "--yes",
             SLUICE_INGEST_PARALLELISM=str(parallelism))
    points = [(time.monotonic(), 0, cpu_seconds(workers))]
    expected = count * 0.94
    while points[-1][1] < expected or points[-1][1] > points[-4][1]:
        time.sleep(_POLL_SECONDS)
        points.append(
            (time.monotonic(), _end(bootstrap, "events.clean") - first, cpu_seconds(workers))
        )
    total = points[-1][1]
    done = next(point for point in points if point[1] >= 0.98 * total)
    warm = next(point for point in points if point[1] >= _WARM * total)
    end_job(stack)
    # Offsets of events.clean leave the duplicates out: count what was read.
    share = count / total
    return {
        "events": count,
        "events_per_s": round((done[1] - warm[1]) * share / (done[0] - warm[0])),
        "cpu_s_per_million": round((done[2] - warm[2]) / ((done[1] - warm[1]) * share) * 1e6, 1),
        "cpu_s_per_million_with_start": round(
            (done[2] - points[0][2]) / (done[1] * share) * 1e6, 1
        ),
    }


def run_loop(stack: TestStack, processes: int, count: int) -> dict[str, Any]:
    """Let the hand-written loop read the same topic; several share its partitions."""
    settings = stack.settings()
    target = f"loop-{processes}"
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    admin.create_topics([NewTopic(name, num_partitions=_PARTITIONS, replication_factor=1)
                         for name in (target, f"{target}-dlq")])
    admin.close()
    command = [
        sys.executable, "-m", "bench.peers.ingest_loop", settings.kafka_bootstrap,
        settings.registry_url.get_secret_value(), "events.raw", target,
        # They stop a little before the end: nobody knows how many each one gets.
        str(int(count * 0.9 / processes)), str(PROJECT_ROOT / "schemas" / "clean" / "v1.avsc"),
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
               for _ in range(processes)]
    found = [json.loads(process.communicate()[0]) for process in running]
    events = sum(one["events"] for one in found)
    return {
        "events": events,
        "events_per_s": round(events / max(one["seconds"] for one in found)),
        "cpu_s_per_million": round(sum(one["cpu_seconds"] for one in found) / events * 1e6, 1),
    }


def measure_state(stack: TestStack, millions: list[int]) -> list[dict[str, Any]]:
    """Fill the memory of ids; return its size and how long a checkpoint of it takes."""
    bootstrap = stack.settings().kafka_bootstrap
    stack.ok("deploy", "ingest", "--fresh", "--yes", SLUICE_INGEST_PARALLELISM="2")
    job = job_id(stack)
    start = _end(bootstrap, "events.clean")
    sizes = []
    for step, target in enumerate(millions):
        missing = target * 1_000_000 - (_end(bootstrap, "events.clean") - start)
        for piece, first in enumerate(range(0, max(1, missing), _PIECE)):
            count = min(_PIECE, missing - first)
            stack.ok("events", "produce", "--count", str(max(1, count)),
                     "--seed", str(100 * (step + 1) + piece))
        while _end(bootstrap, "events.clean") - start < target * 995_000:
            time.sleep(1)
        sizes.append({"distinct_ids_millions": target, **_checkpoint(stack, job)})
        print(sizes[-1])
    end_job(stack)
    return sizes


def _checkpoint(stack: TestStack, job: str) -> dict[str, Any]:
    """Return the next checkpoints of a job at rest, and the size of a whole savepoint."""
    time.sleep(8)
    history = flink.get(stack, f"/jobs/{job}/checkpoints")["history"]
    done = [entry for entry in history if entry["status"] == "COMPLETED"][:3]
    return {
        "state_mb": round(done[0]["state_size"] / 2**20, 1),
        "checkpoint_ms": sorted(entry["end_to_end_duration"] for entry in done)[1],
    }


def _step(name: str, work: Callable[[], Any]) -> Any:
    begun = time.monotonic()
    before = round(pace(), 1)
    result = work()
    if isinstance(result, dict):
        # The machine's pace at both ends: a step at half of it is not half as good.
        result["empty_loop_ns"] = [before, round(pace(), 1)]
    print(f"{name}: {result} ({time.monotonic() - begun:.0f} s)", flush=True)
    return result


def _picture(result: dict[str, Any], file: Path) -> None:
    draw([
        Chart("Throughput", "events/s", [(name, row["events_per_s"])
                                         for name, row in result["throughput"].items()]),
        Chart("CPU", "s per million events", [(name, row["cpu_s_per_million"])
                                              for name, row in result["throughput"].items()]),
        Chart("Latency raw to clean, P99", "ms", [
            (f"{rate}, {kind}", row[kind]["p99"])
            for rate, row in result["latency_ms"].items() for kind in _KINDS
        ]),
    ], file.with_suffix(".svg"))


def _add_state(stack: TestStack, millions: list[int]) -> int:
    """Measure the state alone; what else was measured today stays."""
    file = result_file("ingest")
    result = json.loads(file.read_text(encoding="utf-8"))
    try:
        stack.ok("stack", "up", "--only", "kafka,registry,postgres,flink")
        found = measure_state(stack, millions)
    finally:
        stack.destroy()
    known = {row["distinct_ids_millions"]: row for row in [*result.get("state", []), *found]}
    result["state"] = [known[size] for size in sorted(known)]
    _picture(result, write_result("ingest", result))
    return 0


def main() -> int:
    """Measure, print, write the result and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--state", default="1,5,10", help="millions of distinct ids, or none")
    parser.add_argument("--only-state", action="store_true",
                        help="measure the state, and put it into the result of today")
    parser.add_argument("--latency-seconds", type=int, default=60)
    arguments = parser.parse_args()
    stack = TestStack(PROJECT_ROOT / ".sluice" / "bench")
    stack.destroy()
    millions = [] if arguments.state == "none" else [
        int(part) for part in arguments.state.split(",")
    ]
    if arguments.only_state:
        return _add_state(stack, millions)
    result: dict[str, Any] = machine()
    try:
        stack.ok("stack", "up", "--only", "kafka,registry,postgres,flink")
        count = arguments.events
        _step("filled", lambda: fill(stack, count))
        rates = result["throughput"] = {}
        for parallel in (1, 2):
            rates[f"loop, {parallel} process"] = _step(
                f"loop {parallel}", lambda: run_loop(stack, parallel, count)  # noqa: B023
            )
            rates[f"ingest, parallelism {parallel}"] = _step(
                f"ingest {parallel}", lambda: run_job(stack, parallel, count)  # noqa: B023
            )
        result["latency_ms"] = {
            f"{rate}/s": _step(f"latency {rate}/s", lambda: measure_latency(
                stack, rate, arguments.latency_seconds))  # noqa: B023
            for rate in (1_000, 5_000)
        }
        if millions:
            forget_offsets(stack.settings().kafka_bootstrap)
            result["state"] = measure_state(stack, millions)
    finally:
        stack.destroy()
    _picture(result, write_result("ingest", result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
