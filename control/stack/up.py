"""Start what is not running, and wait until each server answers a real request."""

import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import Enum

import psutil

from control.errors import SluiceError
from control.settings import public
from control.stack.component import Component, NotReadyError, StackContext
from control.stack.context import OpenStack
from control.stack.ports import Moved, PortAllocator
from control.stack.process import kill, raise_open_files, stop
from control.stack.reporter import Reporter

# Everything unpacked, with room for a first hour of data.
_DISK_NEEDED_MB = 3000
_POLL_SECONDS = 0.2
_LOG_LINES = 5


class Outcome(Enum):
    """What `up` did with one server."""

    STARTED = "started"
    RESTARTED = "restarted"
    RUNNING = "already running"
    EXTERNAL = "yours"


@dataclass(frozen=True)
class Started:
    """One server that answers."""

    component: Component
    outcome: Outcome
    version: str
    seconds: float


def bring_up(
    stack: OpenStack,
    components: list[Component],
    reporter: Reporter,
    provision: Callable[[str], None],
) -> list[Started]:
    """Bring the servers up; `provision` is called with the name of each that answers."""
    context = stack.context
    context.home.create()
    raise_open_files()
    ours = [part for part in components if part.external_address(context) is None]
    _check_disk(context, ours)
    for part in ours:
        if part.java is not None:
            context.java(part.java)
    _download(context, ours, reporter)
    died = {part.name for part in ours
            if context.processes.is_remembered(part.name) and part.find(context) is None}
    for moved in _choose_ports(stack, ours):
        reporter.note(
            f"{moved.component}: port {moved.usual} is taken, using {moved.chosen}"
            f" for {moved.purpose}"
        )
    _remember(stack, components)
    return _Start(context, components, died, reporter, provision).run()


def _check_disk(context: StackContext, ours: list[Component]) -> None:
    if not ours:
        return
    free_mb = shutil.disk_usage(context.home.path).free // 2**20
    if free_mb < _DISK_NEEDED_MB:
        message = f"{context.home.path} has {free_mb} MB free; the stack needs {_DISK_NEEDED_MB}."
        raise SluiceError(message, "Free some space, or set SLUICE_HOME to another disk.")


def _download(context: StackContext, ours: list[Component], reporter: Reporter) -> None:
    names = sorted({name for part in ours for name in part.artifacts})
    missing = context.cache.missing([context.artifacts[name] for name in names])
    if missing:
        with reporter.download(sum(file.size for file in missing), len(missing)) as progress:
            context.cache.fetch(missing, progress)


def _choose_ports(stack: OpenStack, ours: list[Component]) -> list[Moved]:
    running = {part.name: part.find(stack.context) is not None for part in ours}
    allocator = PortAllocator(stack.state.stack_id)
    return allocator.choose(
        {part.name: part.ports for part in ours},
        stack.state.ports,
        lambda name: running.get(name, False),
    )


def _remember(stack: OpenStack, components: list[Component]) -> None:
    context, state = stack.context, stack.state
    names = {part.name for part in components} | set(state.wanted)
    state.wanted = [part.name for part in stack.components if part.name in names]
    if context.area.account is not None:
        state.unprivileged = str(context.area.path)
    context.home.save(state)
    context.home.save_addresses({
        part.setting: part.address(context) for part in stack.components
        if part.setting is not None and part.external_address(context) is None
    })


class _Start:
    """One `up` at work: each server in a thread of its own, as soon as what it needs answers."""

    def __init__(
        self, context: StackContext, components: list[Component], died: set[str],
        reporter: Reporter, provision: Callable[[str], None],
    ) -> None:
        self._context = context
        self._waiting = list(components)
        self._died = died
        self._reporter = reporter
        self._provision = provision
        # What is not a part of this `up` is not waited for.
        self._missing = {part.name for part in components}
        self._pending: dict[Future[Started], Component] = {}
        self._results: list[Started] = []
        self._failures: list[SluiceError] = []

    def run(self) -> list[Started]:
        """Start all; raise the first failure once everything else is through."""
        with ThreadPoolExecutor(len(self._waiting) or 1) as pool:
            try:
                self._begin(pool)
                while self._pending:
                    done, _ = wait(self._pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        self._collect(future)
                    self._begin(pool)
            except KeyboardInterrupt:
                # What answers goes on; what does not yet is stopped by its own thread.
                self._context.stopping.set()
                raise
        for part in self._waiting:
            self._reporter.fail(part.name, f"not started: it needs {', '.join(part.after)}")
        if self._failures:
            raise self._failures[0]
        return self._results

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        for part in [part for part in self._waiting if not self._missing & set(part.after)]:
            self._waiting.remove(part)
            self._reporter.begin(part.name)
            self._pending[pool.submit(self._work, part)] = part

    def _work(self, part: Component) -> Started:
        result = _start_one(self._context, part, part.name in self._died, self._reporter)
        self._provision(part.name)
        return result

    def _collect(self, future: Future[Started]) -> None:
        part = self._pending.pop(future)
        error = future.exception()
        if error is None:
            self._results.append(future.result())
            self._missing.discard(part.name)
            self._reporter.finish(self._results[-1], part.reach(self._context))
        elif isinstance(error, SluiceError):
            self._failures.append(error)
            self._reporter.fail(part.name, error.message)
        else:
            raise error


def _start_one(
    context: StackContext, part: Component, died: bool, reporter: Reporter
) -> Started:
    begun = time.monotonic()
    if part.external_address(context) is not None:
        version = _wait_ready(context, part, None, None, seconds=10)
        return Started(part, Outcome.EXTERNAL, version, time.monotonic() - begun)
    if (process := part.find(context)) is not None:
        try:
            version = _wait_ready(
                context, part, process, None, part.silent_seconds or part.start_seconds
            )
            return Started(part, Outcome.RUNNING, version, time.monotonic() - begun)
        except SluiceError:
            # It may have died meanwhile; then it is started like any other.
            if part.silent_seconds is None and part.find(context) is not None:
                raise
            reporter.note(f"{part.name} does not answer, starting it anew")
            died = True
    # What a killed server left behind (workers, half a start) would hold its files and ports.
    kill(context.processes.marked([part.name]))
    part.prepare(context)
    reporter.state(part.name, "starting")
    child = context.processes.start(part.name, part.launch(context))
    try:
        version = _wait_ready(context, part, None, child, part.start_seconds)
    except SluiceError:
        _undo(context, part)
        raise
    outcome = Outcome.RESTARTED if died else Outcome.STARTED
    return Started(part, outcome, version, time.monotonic() - begun)


def _undo(context: StackContext, part: Component) -> None:
    for process in context.processes.marked([part.name]):
        stop(process, part.stop_signal, 2)
    kill(context.processes.marked([part.name]))
    context.processes.forget(part.name)


def _wait_ready(
    context: StackContext,
    part: Component,
    process: psutil.Process | None,
    child: "subprocess.Popen[bytes] | None",
    seconds: float,
) -> str:
    deadline = time.monotonic() + seconds
    while True:
        try:
            version = part.probe(context)
        except NotReadyError as error:
            reason = str(error)
        else:
            if child is not None and part.find(context) is None:
                reason = "it answers, but its process is not ours: somebody else has its port"
            else:
                return version
        if child is not None and child.poll() is not None:
            message = f"{part.name} ended at once (exit code {child.returncode})."
            raise SluiceError(message, _see_log(context, part))
        if context.stopping.is_set():
            message = f"{part.name} was not waited for."
            raise SluiceError(message, "Run the command again.")
        if time.monotonic() > deadline:
            if process is None and child is None:
                message = (
                    f"{part.name} does not answer at {public(part.reach(context))}: {reason}"
                )
                hint = f"Check SLUICE_{str(part.setting).upper()}, or unset it to use our own."
                raise SluiceError(message, hint)
            message = f"{part.name} runs but does not answer after {seconds:.0f} s: {reason}"
            raise SluiceError(message, _see_log(context, part))
        time.sleep(_POLL_SECONDS)


def _see_log(context: StackContext, part: Component) -> str:
    lines: list[str] = []
    for log in (part.launch(context).log, part.log(context)):
        if log.exists():
            text = log.read_text(encoding="utf-8", errors="replace")
            lines = [line[:300] for line in text.splitlines() if line.strip()][-_LOG_LINES:]
        if lines:
            break
    shown = "".join(f"\n    {line}" for line in lines)
    return f"`sluice stack logs {part.name}` shows more. Its last words:{shown}"
