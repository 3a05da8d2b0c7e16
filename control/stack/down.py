"""Stop the stack's servers gracefully, readers before what they read from."""

import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

from control.stack.component import Component
from control.stack.context import OpenStack
from control.stack.process import is_alive, kill, stop


@dataclass(frozen=True)
class Stopped:
    """How one server ended."""

    name: str
    graceful: bool
    seconds: float


def take_down(stack: OpenStack, report: Callable[[Stopped], None]) -> list[Stopped]:
    """Stop every server that this stack started, then whatever they left behind."""
    ordered = sorted(stack.components, key=lambda part: part.stop_stage)
    results: list[Stopped] = []
    for _, stage in groupby(ordered, key=lambda part: part.stop_stage):
        for stopped in _stop_stage(stack, list(stage)):
            results.append(stopped)
            report(stopped)
    # Python workers of a killed TaskManager, a server whose `up` was killed while it started.
    kill(process for process in stack.context.processes.marked() if is_alive(process))
    for part in stack.components:
        stack.context.processes.forget(part.name)
    stack.state.wanted = []
    stack.context.home.save(stack.state)
    return results


def _stop_stage(stack: OpenStack, stage: list[Component]) -> Iterable[Stopped]:
    def work(part: Component) -> Stopped | None:
        begun = time.monotonic()
        process = part.find(stack.context)
        if process is None:
            return None
        graceful = stop(process, part.stop_signal, part.stop_seconds)
        if graceful:
            part.ended(stack.context)
        return Stopped(part.name, graceful, time.monotonic() - begun)

    with ThreadPoolExecutor(len(stage)) as pool:
        return [stopped for stopped in pool.map(work, stage) if stopped is not None]


def wipe(stack: OpenStack) -> None:
    """Delete the data, logs and settings of a stopped stack; downloads stay."""
    home = stack.context.home
    stack.context.area.remove()
    cache = stack.context.settings.cache_dir.resolve()
    for entry in home.path.iterdir():
        # The lock is held by this command, and the cache may lie in here.
        if entry.name == "stack.lock" or entry.resolve() == cache:
            continue
        if entry.name in _OURS:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


# Only what the stack made: a home that somebody pointed at a folder of theirs keeps the rest.
_OURS = frozenset({
    "run", "logs", "data", "conf", "checkpoints", "savepoints", "ha", "unprivileged",
    "stack.json", "addresses.json",
})
