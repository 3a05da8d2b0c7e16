"""How long the stack takes to start and stop, and what it takes when idle.

Cold: empty data, downloads there. Warm: data and class archives of an earlier run there.
"""

import statistics
import sys
import time

from bench.kit import machine, write_result
from control.settings import PROJECT_ROOT
from tests.kit.stack import TestStack

_RUNS = 3
_SETTLE_SECONDS = 20
_LIMITS = {"cold_start_s": 40, "warm_start_s": 25, "down_s": 15, "idle_memory_mb": 4096}


def _timed(stack: TestStack, *command: str) -> float:
    begun = time.monotonic()
    stack.ok(*command)
    return round(time.monotonic() - begun, 1)


def measure() -> dict[str, list[float]]:
    """Start and stop a stack of its own a few times."""
    stack = TestStack(PROJECT_ROOT / ".sluice" / "bench")
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
    before = machine()
    found = measure()
    medians = {name: statistics.median(row) for name, row in found.items()}
    write_result("stack", {**before, "runs": found, "median": medians, "limits": _LIMITS})
    print(medians)
    return 0 if all(medians[name] <= limit for name, limit in _LIMITS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
