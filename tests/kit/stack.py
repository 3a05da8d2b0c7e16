"""A stack of a test's own, driven through the `sluice` command as a person would."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from control.settings import ADDRESSES, PREFIX, PROJECT_ROOT, Settings, load_settings
from control.stack.home import StackHome
from control.stack.process import STACK_MARK

TEST_HOMES = PROJECT_ROOT / ".sluice" / "test"
SLUICE = Path(sys.executable).parent / "sluice"

# A cold start takes 40 s; a machine that does other things, too, gets ten times that.
_PATIENCE = 400


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended; its parent may not have buried it yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestStack:
    """Runs commands against one SLUICE_HOME."""

    __test__ = False

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self._environment = environment

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of its commands: nothing of the caller's settings."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        return {
            **clean, "SLUICE_HOME": str(self.home),
            # Tests run before what they test is committed.
            "SLUICE_ALLOW_DIRTY": "true", **self._environment, **more,
        }

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, whatever that is."""
        return subprocess.run(
            [str(SLUICE), *arguments], env=self.environment(**environment), text=True,
            capture_output=True, check=False, timeout=_PATIENCE,
        )

    def ok(self, *arguments: str, **environment: str) -> str:
        """Run a command that must succeed; return what it printed."""
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, f"sluice {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, dict[str, Any]]:
        """Return `stack status --json` by component."""
        done = self.run("stack", "status", "--json")
        return {entry["component"]: entry for entry in json.loads(done.stdout)}

    def pid(self, component: str) -> int:
        """Return a server's pid."""
        pid = self.status()[component]["pid"]
        assert isinstance(pid, int), f"{component} has no pid"
        return pid

    def children(self, component: str) -> list[psutil.Process]:
        """Return the processes that a server has started, Flink's Python workers above all."""
        return psutil.Process(self.pid(component)).children(recursive=True)

    def kill(self, component: str) -> int:
        """Kill a server with -9; return the pid that it had."""
        pid = self.pid(component)
        os.kill(pid, signal.SIGKILL)
        return pid

    def processes(self) -> list[psutil.Process]:
        """Return every process that carries this stack's mark."""
        mark = StackHome(self.home).load().stack_id
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get(STACK_MARK) == mark
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def settings(self) -> Settings:
        """Return the settings that point at this stack."""
        assert not any(f"{PREFIX}{name.upper()}" in os.environ for name in ADDRESSES)
        return load_settings(home=self.home)

    def destroy(self) -> None:
        """Stop and delete everything."""
        done = self.run("stack", "down", "--wipe")
        assert done.returncode == 0, f"the test stack does not stop:\n{done.stdout}{done.stderr}"
        shutil.rmtree(self.home, ignore_errors=True)
