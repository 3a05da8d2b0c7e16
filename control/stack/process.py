"""Start, recognise and stop the stack's processes, and never touch anybody else's."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from control.errors import SluiceError
from control.stack.home import read_json, write_json

# Every process of a stack carries these in its environment, and so do its children. A process
# that lost its record (the command that started it was killed) is found again by them.
STACK_MARK = "SLUICE_STACK"
COMPONENT_MARK = "SLUICE_COMPONENT"

# A process's start time is read in clock ticks of 10 ms; equal readings differ by less.
_SAME_START_SECONDS = 0.05

_OPEN_FILES = 65_536

# Whoever has to reap a dead server (a container's first process, say) may be slow.
_BURIAL_SECONDS = 15


@dataclass(frozen=True)
class Account:
    """The unprivileged user that runs servers which refuse root."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Launch:
    """How to start one server."""

    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]
    folder: Path
    account: Account | None = None


@dataclass(frozen=True)
class ProcessRecord:
    """What identifies a process beyond its pid, which the system may give to another."""

    pid: int
    started: float
    command: list[str]


class ProcessTable:
    """The processes of one stack."""

    def __init__(self, run: Path, stack_id: str) -> None:
        self._run = run
        self._stack_id = stack_id

    def start(self, component: str, launch: Launch) -> "subprocess.Popen[bytes]":
        """Start a server in a session of its own, so that a Ctrl-C here does not reach it."""
        self._await_burial(component)
        environment = {
            **launch.environment, STACK_MARK: self._stack_id, COMPONENT_MARK: component,
        }
        account = launch.account
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        with launch.log.open("ab") as log:
            try:
                started = subprocess.Popen(
                    launch.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=launch.folder,
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                )
            except OSError as error:
                message = f"{component} cannot be started: {launch.command[0]}: {error.strerror}."
                raise SluiceError(message, "`sluice doctor` tells what is missing.") from error
        self.remember(component, psutil.Process(started.pid))
        return started

    def _await_burial(self, component: str) -> None:
        """Wait while the last one is dead but not reaped: PostgreSQL takes its pid for alive."""
        deadline = time.monotonic() + _BURIAL_SECONDS
        while _is_unburied(read_json(self._file(component))) and time.monotonic() < deadline:
            time.sleep(0.05)

    def remember(self, component: str, process: psutil.Process) -> None:
        """Write down which process a component is."""
        try:
            record = ProcessRecord(process.pid, process.create_time(), process.cmdline())
        except psutil.NoSuchProcess:
            return
        write_json(self._file(component), asdict(record))

    def is_remembered(self, component: str) -> bool:
        """Tell whether a component was started and not stopped since."""
        return self._file(component).exists()

    def forget(self, component: str) -> None:
        """Drop the record of a component."""
        self._file(component).unlink(missing_ok=True)

    def find(self, component: str, server_is: str | None = None) -> psutil.Process | None:
        """Return a component's live process, by its record or else by its mark."""
        process = _same_process(read_json(self._file(component)))
        if process is not None:
            return process
        marked = self.marked([component])
        if server_is is not None:
            marked = [process for process in marked if server_is in " ".join(_command(process))]
        if not marked:
            return None
        pids = {process.pid for process in marked}
        heads = [process for process in marked if _parent(process) not in pids]
        found = min(heads or marked, key=lambda process: process.create_time())
        self.remember(component, found)
        return found

    def marked(self, components: Iterable[str] | None = None) -> list[psutil.Process]:
        """Return every live process that carries this stack's mark."""
        wanted = None if components is None else set(components)
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
                if environment.get(STACK_MARK) != self._stack_id or not is_alive(process):
                    continue
                if wanted is None or environment.get(COMPONENT_MARK) in wanted:
                    found.append(process)
            except (psutil.Error, OSError):
                # Gone meanwhile, or another user's: not ours.
                continue
        return found

    def _file(self, component: str) -> Path:
        return self._run / f"{component}.json"


def _same_process(content: object) -> psutil.Process | None:
    try:
        record = ProcessRecord(**content)  # type: ignore[arg-type]
        process = psutil.Process(record.pid)
        same = (
            abs(process.create_time() - record.started) < _SAME_START_SECONDS
            and process.cmdline() == record.command
        )
        return process if same and is_alive(process) else None
    except psutil.Error:
        return None
    except (TypeError, ValueError):
        # No record, or one that was damaged: the mark finds the process.
        return None


def _is_unburied(content: object) -> bool:
    try:
        record = ProcessRecord(**content)  # type: ignore[arg-type]
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.started) < _SAME_START_SECONDS
        return same and process.status() == psutil.STATUS_ZOMBIE
    except (psutil.Error, TypeError, ValueError):
        return False


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process still runs; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(process: psutil.Process, signal_number: signal.Signals, patience: float) -> bool:
    """Ask a process to end; kill it when it does not. Return whether it ended by itself."""
    try:
        process.send_signal(signal_number)
    except psutil.NoSuchProcess:
        return True
    if wait_gone([process], patience):
        return True
    kill([process])
    return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes at once and wait until they are gone."""
    doomed = list(processes)
    for process in doomed:
        # psutil refuses to signal a pid that meanwhile belongs to another process.
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    wait_gone(doomed, 5)


def wait_gone(processes: Iterable[psutil.Process], seconds: float) -> bool:
    """Wait until none of the processes runs any more."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while left := [process for process in left if is_alive(process)]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def memory_mb(process: psutil.Process) -> float:
    """Return the memory of a process and its children in MiB, shared pages counted once."""
    total = 0
    try:
        tree = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0.0
    for member in tree:
        try:
            full = member.memory_full_info()
            total += getattr(full, "pss", 0) or full.rss
        except (psutil.Error, OSError):
            continue
    return round(total / 2**20, 1)


def raise_open_files() -> None:
    """Let this process, and so the servers that it starts, open as many files as it may.

    The usual limit of 1,024 is for programs that use select(); servers want more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def base_environment(first_on_path: Path | None = None) -> dict[str, str]:
    """Return the environment for a server: what it needs, not the secrets of the caller's shell."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    if first_on_path is not None:
        environment["PATH"] = f"{first_on_path}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment
