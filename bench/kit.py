"""What every benchmark needs: the machine's description, CPU time, a place for results."""

import json
import os
import platform
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import Any

import psutil

from control.settings import PROJECT_ROOT

RESULTS = PROJECT_ROOT / "bench" / "results"
_LOOPS = 5_000_000


def machine() -> dict[str, Any]:
    """Describe the machine, and how fast it is just now."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB,"
                   f" {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
        "empty_loop_ns": round(pace(), 1),
    }


def pace() -> float:
    """Return the nanoseconds of CPU of an empty loop: a shared machine changes its speed."""
    begun = process_time()
    for _ in range(_LOOPS):
        pass
    return (process_time() - begun) / _LOOPS * 1e9


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Add up the CPU time of processes and their children."""
    total = 0.0
    for process in processes:
        try:
            for one in (process, *process.children(recursive=True)):
                times = one.cpu_times()
                total += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return total


class PeakMemory:
    """Watches how much memory processes and their children have at most, in MiB."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes = processes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.peak = 0.0

    def __enter__(self) -> "PeakMemory":
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1):
            self.peak = max(self.peak, sum(map(_rss_mb, self._processes)))


def _rss_mb(process: psutil.Process) -> float:
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total / 2**20


def percentiles(values: list[float]) -> dict[str, float]:
    """Return P50, P95 and P99."""
    ordered = sorted(values)
    return {
        f"p{rank}": round(ordered[min(len(ordered) - 1, len(ordered) * rank // 100)], 1)
        for rank in (50, 95, 99)
    }


def result_file(name: str) -> Path:
    """Return where a result of today goes."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    return RESULTS / f"{name}-{datetime.now(UTC):%Y-%m-%d}.json"


def write_result(name: str, result: Mapping[str, Any]) -> Path:
    """Write a result under today's date."""
    file = result_file(name)
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {file.relative_to(PROJECT_ROOT)}")
    return file
