"""How long the stack takes to start and stop, and what it takes when idle.

Cold: empty data, downloads there. Warm: data and class archives of an earlier run there.
"""

import json
import os
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from control.settings import PROJECT_ROOT
from tests.kit.stack import TEST_HOMES, TestStack

_RUNS = 3
_SETTLE_SECONDS = 20
_LIMITS = {"cold_start_s": 40, "warm_start_s": 25, "down_s": 15, "idle_memory_mb": 4096}


def _timed(stack: TestStack, *command: str) -> float:
    begun = time.monotonic()
    stack.ok(*command)
    return round(time.monotonic() - begun, 1)


def measure() -> dict[str, list[float]]:
    """Start and stop a stack of its own a few times."""
    stack = TestStack(TEST_HOMES / "bench")
    found: dict[str, list[float]] = {name: [] for name in _LIMITS}
    for number in range(1, _RUNS + 1):
        stack.destroy()
        found["cold_start_s"].append(_timed(stack, "stack", "up"))
        found["down_s"].append(_timed(stack, "stack", "down"))
        found["warm_start_s"].append(_timed(stack, "stack", "up"))
        time.sleep(_SETTLE_SECONDS)
        memory = sum(float(entry["memory_mb"]) for entry in stack.status().values())
        found["idle_memory_mb"].append(round(memory))
        found["down_s"].append(_timed(stack, "stack", "down"))
        print(f"run {number} of {_RUNS}: {({name: row[-1] for name, row in found.items()})}")
    stack.destroy()
    return found


def main() -> int:
    """Measure, print, and write the result down."""
    load = os.getloadavg()[0]
    found = measure()
    now = datetime.now(UTC)
    result = {
        "date": now.isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB,"
                   f" {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load_before": round(load, 1),
        "runs": found,
        "median": {name: statistics.median(row) for name, row in found.items()},
        "limits": _LIMITS,
    }
    folder: Path = PROJECT_ROOT / "bench" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"stack-{now:%Y-%m-%d}.json"
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {file.relative_to(PROJECT_ROOT)}: {result['median']}")
    medians = {name: statistics.median(row) for name, row in found.items()}
    return 0 if all(medians[name] <= limit for name, limit in _LIMITS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
