"""Checks of the machine: what must be there before any server starts."""

import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from control.doctor.finding import Finding, bad, good, warn
from control.settings import unknown_variables
from control.stack.context import OpenStack
from control.stack.java import BUNDLED, JavaNeed
from control.stack.ports import is_free

_PYTHON = (3, 11)
_DISK_MB = 3_000
_DISK_COMFORTABLE_MB = 10_000
# The idle stack takes 3 GB; jobs, their Python workers and a test run take as much again.
_MEMORY_MB = 4_500
_MEMORY_COMFORTABLE_MB = 8_000
# Elasticsearch refuses less outside of development, and RocksDB opens a file for each table.
_OPEN_FILES = 4_096


def check_machine(stack: OpenStack) -> Iterator[Finding]:
    """Run the checks one after another."""
    yield _python()
    yield from _javas(stack)
    yield _disk(stack.context.home.path)
    yield _memory(stack)
    yield _open_files()
    yield _home(stack.context.home.path)
    yield _settings()
    yield from _ports(stack)


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] == _PYTHON:
        return good("python", f"{version} in {sys.prefix}")
    return bad("python", f"{version}; PyFlink's workers and this lock are for 3.11",
               "make clean install PYTHON=python3.11")


def _javas(stack: OpenStack) -> Iterator[Finding]:
    context = stack.context
    found = ", ".join(f"{java.version} ({java.home})" for java in context.javas)
    chosen = context.settings.java_home
    if str(chosen) == BUNDLED:
        found = "the bundled runtime only, as SLUICE_JAVA_HOME says"
    yield good("java", found) if found else warn(
        "java", "none on this machine; a packaged runtime is fetched where one fits",
        "install a JDK 21",
    )
    seen: set[str] = set()
    for part in stack.components:
        if part.java is None or part.external_address(context) is not None:
            continue
        label = "taskmanagers" if part.name.startswith("taskmanager") else part.name
        if label not in seen:
            seen.add(label)
            yield _java_for(stack, label, part.java)


def _java_for(stack: OpenStack, part: str, need: JavaNeed) -> Finding:
    check = f"java: {part}"
    fitting = next((java for java in stack.context.javas if need.accepts(java)), None)
    if fitting is not None:
        return good(check, f"{fitting.version} ({fitting.home})")
    return good(check, f"needs {need}; uses the packaged runtime of locks/{need.wheel}.txt")


def _disk(home: Path) -> Finding:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free // 2**20
    detail = f"{free / 1024:.1f} GB free at {existing}"
    remedy = "free some space, or set SLUICE_HOME to another disk"
    if free < _DISK_MB:
        return bad("disk", f"{detail}; the stack needs {_DISK_MB / 1024:.0f} GB", remedy)
    if free < _DISK_COMFORTABLE_MB:
        return warn("disk", f"{detail}; a long run of events needs more", remedy)
    return good("disk", detail)


def _memory(stack: OpenStack) -> Finding:
    memory = psutil.virtual_memory()
    available = memory.available // 2**20
    detail = f"{available / 1024:.1f} of {memory.total / 2**30:.1f} GB available"
    running = any(part.find(stack.context) for part in stack.components)
    if not running and available < _MEMORY_MB:
        return bad("memory", f"{detail}; the idle stack needs about 3 GB, a job more",
                   "close something, or start less: sluice stack up --only kafka,registry")
    if not running and available < _MEMORY_COMFORTABLE_MB:
        return warn("memory", f"{detail}; jobs and tests together take about 6 GB",
                    "close something before `make test`")
    return good("memory", detail)


def _open_files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= _OPEN_FILES:
        limit = "none" if hard == resource.RLIM_INFINITY else str(hard)
        return good("open files", f"hard limit {limit}; `up` raises the soft one for its servers")
    return bad("open files", f"hard limit {hard}; servers want {_OPEN_FILES}",
               "raise nofile in /etc/security/limits.conf")


def _home(home: Path) -> Finding:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        return good("home", str(home))
    return bad("home", f"{existing} is not writable",
               "give yourself write permission, or set SLUICE_HOME to another folder")


def _settings() -> Finding:
    unknown = unknown_variables()
    if not unknown:
        return good("settings", "every SLUICE_* variable names a setting")
    return warn("settings", f"no such setting: {', '.join(unknown)}",
                "check the spelling; `sluice --help` lists the settings")


def _ports(stack: OpenStack) -> Iterator[Finding]:
    context = stack.context
    taken = []
    count = 0
    for part in stack.components:
        if part.external_address(context) is not None or part.find(context) is not None:
            continue
        for purpose in part.ports:
            count += 1
            port = context.port(part.name, purpose)
            if not is_free(port):
                taken.append(f"{port} ({part.name} {purpose})")
    if taken:
        yield warn("ports", f"taken by others: {', '.join(taken)}; `up` will pick others",
                   "`ss -ltnp` shows who has them")
    else:
        yield good("ports", f"{count} ports free for what is not running" if count else
                   "every server has its ports")
