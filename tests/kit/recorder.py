"""Write down what the long tests saw: bench/results/chaos-DATE.json."""

import json
from typing import Any

import pytest

from bench.kit import machine, result_file

_seen: dict[str, dict[str, Any]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember how a long test ended, how long it took, and what it wants to be known."""
    if not (report.nodeid.startswith("tests/chaos/") or "long" in report.keywords):
        return
    if report.when == "call" or report.failed:
        _seen[report.nodeid] = {
            "outcome": report.outcome, "seconds": round(report.duration),
            **dict(report.user_properties),
        }


def pytest_sessionfinish() -> None:
    """Write the results; those of other tests of the day stay."""
    if not _seen:
        return
    file = result_file("chaos")
    earlier = json.loads(file.read_text(encoding="utf-8"))["tests"] if file.exists() else {}
    result = {**machine(), "tests": {**earlier, **_seen}}
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
