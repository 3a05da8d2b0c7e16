"""A checkout, a counting job that runs, numbers on their way: what an upgrade is tried on."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from control.flink import FlinkClient
from control.flink_answers import FlinkJob
from tests.kit.numbers import Numbers
from tests.kit.source_tree import SourceTree
from tests.kit.stack import SLUICE, TestStack
from tests.kit.wait import wait_until


@dataclass(frozen=True)
class Workbench:
    """One job of a test's own."""

    stack: TestStack
    tree: SourceTree
    numbers: Numbers

    @property
    def job(self) -> str:
        """The job's name."""
        return self.tree.name

    def run(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on this checkout."""
        return self.stack.run(*arguments, **self._environment(more))

    def ok(self, *arguments: str, **more: str) -> str:
        """Run a command that must succeed; return what it printed."""
        return self.stack.ok(*arguments, **self._environment(more))

    def upgrade(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Upgrade the job to what the checkout holds."""
        return self.run("upgrade", self.job, "--yes", *arguments, **more)

    def live(self) -> list[FlinkJob]:
        """Return the jobs of this name that have not ended."""
        with FlinkClient(self.stack.settings().flink_url) as flink:
            return [job for job in flink.jobs() if job.name == self.job and not job.is_over]

    def history(self) -> list[dict[str, Any]]:
        """Return the operations on the job, the newest first."""
        return list(json.loads(self.ok("history", self.job, "--json")))

    def begin(self, *arguments: str, **more: str) -> "subprocess.Popen[str]":
        """Begin a command, and let it run beside the test."""
        return subprocess.Popen(
            [str(SLUICE), *arguments], env=self.stack.environment(**self._environment(more)),
            text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def wait_for_step(self, step: str, seconds: float = 90) -> None:
        """Wait until the newest operation is at a step."""
        def there() -> bool:
            newest = self.history()[0]
            if newest["state"] != "running":
                # What is awaited has not begun.
                return False
            number = str(newest["number"])
            found = json.loads(self.ok("history", "show", number, "--json"))["steps"]
            return any(one["step"] == step for one in found)

        wait_until(f"{self.job} at {step}", there, seconds, 0.5)

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {"SLUICE_SOURCE": str(self.tree.root), "SLUICE_ALLOW_DIRTY": "", **more}
