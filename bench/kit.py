"""What every benchmark needs: the machine's description, CPU time, a place for results."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
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


def percentiles(values: list[float]) -> dict[str, float]:
    """Return P50, P95 and P99."""
    ordered = sorted(values)
    return {
        f"p{rank}": round(ordered[min(len(ordered) - 1, len(ordered) * rank // 100)], 1)
        for rank in (50, 95, 99)
    }


def write_result(name: str, result: Mapping[str, Any]) -> Path:
    """Write a result under today's date."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{name}-{datetime.now(UTC):%Y-%m-%d}.json"
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {file.relative_to(PROJECT_ROOT)}")
    return file
