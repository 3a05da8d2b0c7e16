"""Flink's client, prepared beforehand: it has built the job and waits for the word to start."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from control.archive.packages import PACKAGES
from control.archive.store import ArchiveStore
from control.errors import TimedOutError
from control.flink_command import (
    ClientCommand,
    client_command,
    client_failure,
    connector_jars,
)
from control.lifecycle.deployments import Release
from control.lifecycle.graph import Graph, graph_from_json
from control.lifecycle.releases import code_folder, unpacked, worker_packages
from control.settings import Settings
from jobs.lane import LIVE, Lane
from jobs.order import Go, Order, is_done, read_graph, write_go

_BUILD_SECONDS = 180
_SUBMIT_SECONDS = 120
_POLL_SECONDS = 0.02
_END_SECONDS = 15
_TIED = Path(__file__).with_name("tied.py")


class Prepared(Protocol):
    """A job that is built and not yet submitted."""

    def graph(self) -> Graph:
        """Wait until it is built; return what it looks like."""

    def start(self, savepoint: str | None, *, allow_dropped: bool) -> None:
        """Submit it, from a state; return when Flink has it."""

    def close(self) -> None:
        """Forget it, if it was not submitted."""


class Clients(Protocol):
    """Prepares jobs."""

    def prepare(self, release: Release, flink_job: str, lane: Lane = LIVE) -> Prepared:
        """Begin to build a release, to be submitted under this id."""


class FlinkClients:
    """Prepares jobs with Flink's own client, from the code in their archives."""

    def __init__(self, settings: Settings, store: ArchiveStore) -> None:
        self._settings = settings
        self._store = store

    def prepare(self, release: Release, flink_job: str, lane: Lane = LIVE) -> "PreparedClient":
        """Begin to build a release, to be submitted under this id."""
        code = unpacked(self._store, release.archive, code_folder(self._settings))
        folder = Path(tempfile.mkdtemp(prefix="sluice-client-"))
        packages = worker_packages(self._settings, release.archive)
        setting = release.spec.get("parallelism_setting")
        order = Order(
            job=release.job, folder=folder, jars=connector_jars(self._settings),
            flink_job=flink_job,
            settings={
                **{key: value for key, value in release.settings.items() if key != "flink"},
                **({setting: release.parallelism} if setting else {}),
            },
            flink={
                **({"python.pythonpath": packages} if packages else {}),
                **release.settings.get("flink", {}),
            },
            tells={
                "sluice.job": release.job, "sluice.archive": release.archive,
                "sluice.version": release.version,
            },
            lane=None if lane.is_live else lane.as_json(),
        ).write()
        command = client_command(
            self._settings, ["-pym", "jobs.driver", str(order)],
            more={"PYTHONPATH": os.pathsep.join([str(code), str(code / PACKAGES)])},
        )
        return PreparedClient(release.job, folder, code, command)


class PreparedClient:
    """Flink's client as a process that ends with this one."""

    def __init__(
        self, job: str, folder: Path, code: Path, command: ClientCommand
    ) -> None:
        self._job = job
        self._folder = folder
        self._classes = command.classes
        self._submitted = False
        self._output = (folder / "output.log").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-S", str(_TIED), str(os.getpid()),
             *command.arguments],
            env=dict(command.environment), cwd=code, stdin=subprocess.DEVNULL,
            stdout=self._output, stderr=subprocess.STDOUT,
        )

    def graph(self) -> Graph:
        """Wait until it is built; return what it looks like."""
        content = self._await("built", _BUILD_SECONDS, lambda: read_graph(self._folder))
        return graph_from_json(content)

    def start(self, savepoint: str | None, *, allow_dropped: bool) -> None:
        """Submit it, from a state; return when Flink has it."""
        self.graph()
        write_go(self._folder, Go(savepoint, allow_dropped))
        self._submitted = self._await("submitted", _SUBMIT_SECONDS, self._is_submitted)
        if not self._submitted:
            raise client_failure(self._job, self._text())

    def close(self) -> None:
        """Forget it, if it was not submitted."""
        if self._submitted:
            # It has nothing more to do than to end, and to write down its classes.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
                self._classes.keep()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._output.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_submitted(self) -> bool | None:
        code = self._process.poll()
        if code is not None:
            return code == 0
        return True if is_done(self._folder) else None

    def _await(self, what: str, seconds: float, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            over = self._process.poll() is not None
            found = look()
            if found is not None:
                return found
            if over:
                raise client_failure(self._job, self._text())
            if time.monotonic() > deadline:
                self.close()
                message = f"Flink's client has not {what} {self._job} within {seconds:.0f} s."
                raise TimedOutError(message, "Is the machine busy? `sluice status` tells more.")
            time.sleep(_POLL_SECONDS)

    def _text(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")
