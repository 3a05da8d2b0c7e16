"""The gap of an upgrade, beside Flink's own stop and run: python -m bench.lifecycle.

The gap is the time from the last answer of the old version to the first one of the new, by the
broker's clock, while 2,000 events come in each second. What is taken back is timed from the end of
the bad version until the old one runs again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from bench.kit import machine, pace, percentiles, result_file, write_result
from bench.picture import Chart, draw
from control.flink import FlinkClient
from control.flink_command import client_command, connector_jars
from control.settings import PROJECT_ROOT, Settings
from control.stack.context import open_stack
from control.stack.servers.flink_conf import flink_java
from control.stack.servers.flink_dist import FLINK_DIST
from jobs.order import Go, Order, write_go
from tests.kit import flink
from tests.kit.jobs import end_job
from tests.kit.numbers import Numbers
from tests.kit.source_tree import SourceTree
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until
from tests.kit.workbench import Workbench

_RATE = 2_000
_UPGRADES = 20
_PLAIN = 20
_ROLLBACKS = 5
_GIGABYTE_KEYS = 100_000
_GIGABYTE_VALUE = 10_000
_STATES: dict[str, dict[str, int]] = {
    "small_state": {}, "a_gigabyte": {"keys": _GIGABYTE_KEYS, "ballast": _GIGABYTE_VALUE},
}


def gap(stack: TestStack, topic: str, old: str, new: str) -> float | None:
    """Return the seconds between the last answer of one version and the first of the next."""
    answers = _answers(stack, topic)
    last = max(moment for moment, version in answers if version == old)
    # It may be one that has answered before, and was gone back to.
    first = min((moment for moment, version in answers if version == new and moment > last),
                default=None)
    return None if first is None else (first - last) / 1000


def _answers(stack: TestStack, topic: str) -> list[tuple[int, str]]:
    consumer = Consumer({
        "bootstrap.servers": stack.settings().kafka_bootstrap, "group.id": "bench-lifecycle",
        "enable.partition.eof": True, "isolation.level": "read_uncommitted",
    })
    try:
        parts = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        since = int((time.time() - 120) * 1000)
        places = consumer.offsets_for_times([TopicPartition(topic, part, since) for part in parts])
        consumer.assign(places)
        found: list[tuple[int, str]] = []
        ended: set[Any] = set()
        while len(ended) < len(parts):
            for message in consumer.consume(5_000, timeout=10):
                if message.error():
                    ended.add(message.partition())
                else:
                    found.append((message.timestamp()[1], message.value().split()[3].decode()))
        return found
    finally:
        consumer.close()


class Trial:
    """A counting job under load, whose versions follow each other."""

    def __init__(self, workbench: Workbench) -> None:
        self._bench = workbench
        self._count = 1
        self._runs = "1"
        self._before = ""
        self._plainly = False

    def upgrade(self, strategy: str = "savepoint") -> float:
        """Upgrade as a person would; return the gap."""
        self._write()
        # What Flink's client submitted lies in no archive of ours, and has told nobody its forms.
        allowed = ["--no-way-back", "--allow-unknown"] if self._plainly else []
        self._done(self._bench.upgrade("--watch", "0", "--strategy", strategy, *allowed))
        self._plainly = False
        return self._gap(str(self._count))

    def roll_back(self) -> float:
        """Go back to the version before; return the gap."""
        self._done(self._bench.run("rollback", self._bench.job, "--yes", "--watch", "0"))
        return self._gap(self._before)

    def take_back(self) -> float:
        """Upgrade to what crashes; return how long it takes until the old version runs again."""
        self._bench.tree.change(version="bad", crash_after=0)
        self._done(self._bench.upgrade("--watch", "0"), code=1)
        self._bench.tree.change(version=self._runs, crash_after=None)
        number = str(self._bench.history()[0]["number"])
        steps = {one["step"]: one for one in
                 json.loads(self._bench.ok("history", "show", number, "--json"))["steps"]}
        begun, ended = steps["halt"]["begun_at"], steps["return"]["ended_at"]
        return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()

    def plain(self) -> float:
        """Stop with Flink's own client, then run from the savepoint; return the gap."""
        self._write()
        self._plainly = True
        stack, job = self._bench.stack, self._bench.job
        settings = stack.settings()
        [live] = self._bench.live()
        words = _flink(settings, self._bench.tree, "stop", live.id).split()
        run_plainly(settings, self._bench.tree,
                    next(word for word in words if word.startswith("file:")))
        wait_until("running", lambda: any(
            flink.is_running(stack, one.id) for one in self._bench.live() if one.name == job), 120)
        return self._gap(str(self._count))

    def _write(self) -> None:
        self._count += 1
        self._bench.tree.change(version=str(self._count))

    @staticmethod
    def _done(done: "subprocess.CompletedProcess[str]", code: int = 0) -> None:
        if done.returncode != code:
            raise SystemExit(done.stdout + done.stderr)

    def _gap(self, version: str) -> float:
        topic = f"{self._bench.job}-answers"
        old, self._before, self._runs = self._runs, self._runs, version
        return wait_until("answers of the new version", lambda: gap(
            self._bench.stack, topic, old, version), 60, 1)


def run_plainly(settings: Settings, tree: SourceTree, savepoint: str) -> None:
    """Let Flink's client build and submit the job of a tree, as `flink run -s` does."""
    folder = Path(tempfile.mkdtemp(prefix="bench-lifecycle-"))
    order = Order(
        job=tree.name, folder=folder, jars=_connectors(settings),
        flink_job=uuid.uuid4().hex, settings={}, flink={}, tells={},
    ).write()
    write_go(folder, Go())
    _flink(settings, tree, "run", "-d", "-s", savepoint, "-pyclientexec", sys.executable,
           "-pyexec", sys.executable, "-pym", "jobs.driver", str(order))


def _connectors(settings: Settings) -> tuple[str, ...]:
    """Return what a job takes along the plain way, as Flink's manual says."""
    return connector_jars(settings.model_copy(update={"send_jars": True}))


def _flink(settings: Settings, tree: SourceTree, command: str, *arguments: str) -> str:
    java = flink_java(open_stack(settings).context)
    ours = client_command(settings, [], {"PYTHONPATH": str(tree.root)})
    done = subprocess.run(
        ["/bin/bash", str(FLINK_DIST / "bin" / "flink"), command, "-m",
         settings.flink_url.split("//")[1], *arguments],
        env={**ours.environment, "JAVA_HOME": str(java.home)}, cwd=tree.root, text=True,
        capture_output=True, check=True,
    )
    return done.stdout


def measure(stack: TestStack, upgrades: int, plain: int, **variant: Any) -> dict[str, Any]:
    """Measure with one kind of job."""
    name = f"counting-{token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix="bench-lifecycle-") as folder:
        tree = SourceTree(Path(folder) / "tree", name)
        tree.change(**variant)
        with Numbers(stack, name, rate=_RATE) as numbers:
            workbench = Workbench(stack, tree, numbers)
            workbench.ok("deploy", name)
            if variant:
                _fill(stack, name)
            trial = Trial(workbench)
            gaps: dict[str, list[float]] = {
                "upgrade": [], "last_state": [], "rollback": [], "taken_back": [], "plain": [],
            }
            # In turn, so that the machine's pace is the same for all.
            for number in range(upgrades):
                gaps["upgrade"].append(trial.upgrade())
                gaps["last_state"].append(trial.upgrade("last-state"))
                if number < _ROLLBACKS:
                    gaps["rollback"].append(trial.roll_back())
                    gaps["taken_back"].append(trial.take_back())
                if number < plain:
                    gaps["plain"].append(trial.plain())
                print(f"{number + 1} of {upgrades}: "
                      + ", ".join(f"{what} {seen[-1]:.1f} s" for what, seen in gaps.items()),
                      flush=True)
        end_job(stack, name)
    return {
        "upgrade_gap_s": percentiles(gaps["upgrade"]),
        "last_state_gap_s": percentiles(gaps["last_state"]),
        "rollback_gap_s": percentiles(gaps["rollback"]),
        "plain_gap_s": percentiles(gaps["plain"]),
        "taken_back_s": percentiles(gaps["taken_back"]),
        "each": gaps,
        "empty_loop_ns": round(pace(), 1),
    }


def _fill(stack: TestStack, name: str) -> None:
    """Wait until the state is a gigabyte."""
    def full() -> bool:
        with FlinkClient(stack.settings().flink_url) as client:
            live = client.live_job(name)
            last = client.checkpoints(live.id).newest if live else None
        return last is not None and last.size > 0.9 * _GIGABYTE_KEYS * _GIGABYTE_VALUE

    wait_until("a gigabyte of state", full, 600, 2)


def main() -> int:
    """Measure, print, write the result and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrades", type=int, default=_UPGRADES)
    parser.add_argument("--plain", type=int, default=_PLAIN)
    parser.add_argument("--only", choices=_STATES, help="one of the two")
    arguments = parser.parse_args()
    stack = TestStack(PROJECT_ROOT / ".sluice" / "bench")
    stack.destroy()
    result: dict[str, Any] = machine()
    file = result_file("lifecycle")
    if file.exists():
        # Of the other kind of state, measured before on the same day.
        result = {**json.loads(file.read_text(encoding="utf-8")), **result}
    try:
        stack.ok("stack", "up", "--only", "kafka,registry,postgres,flink")
        for state, variant in _STATES.items():
            if arguments.only in {None, state}:
                result[state] = measure(stack, arguments.upgrades, arguments.plain, **variant)
                write_result("lifecycle", result)
    finally:
        stack.destroy()
    draw([
        Chart("Gap between the versions", "s", [
            (f"{state}, {way}, {rank}", result[state][f"{key}_gap_s"][rank])
            for state in _STATES if state in result
            for way, key in (("sluice upgrade", "upgrade"),
                             ("--strategy last-state", "last_state"),
                             ("sluice rollback", "rollback"),
                             ("flink stop, run -s", "plain"))
            for rank in ("p50", "p95")
        ]),
    ], file.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
