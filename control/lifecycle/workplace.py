"""What an operation works with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from control.lanes.lanes import Lanes
from control.lifecycle.book import Clock
from control.lifecycle.client import Clients, Prepared
from control.lifecycle.deployments import Deployments, Release
from control.lifecycle.eyes import Eyes
from control.lifecycle.ledger import Ledger
from control.lifecycle.savepoints import Savepoints
from control.savepoint_metadata import local_path
from jobs.lane import LIVE, Lane

_SAVEPOINTS = "execution.checkpointing.savepoint-dir"
CHECKPOINTS = "execution.checkpointing.dir"


def kept_in(folder: str | None) -> str | None:
    """Return the savepoint in a folder that is a trigger's own, where this machine can look."""
    path = local_path(folder) if folder is not None else None
    if path is None:
        return None
    found = sorted(path.glob("savepoint-*/_metadata"))
    return f"file:{found[-1].parent}" if found else None


def trigger_folder(base: str | None, job: str, trigger: str) -> str | None:
    """Return a folder of a trigger's own: its savepoint is found even if Flink forgets it."""
    return f"{base.rstrip('/')}/{job}/{trigger}" if base else None


class Guard(Protocol):
    """Tells whether this command still holds the job."""

    def check(self) -> None:
        """Fail when somebody else has taken over."""


class NobodyElse:
    """Holds nothing: whoever only looks needs no more."""

    def check(self) -> None:
        """Find that it is ours."""


@dataclass
class Workplace:
    """The tables, the eyes and the hands of the control plane."""

    ledger: Ledger
    deployments: Deployments
    savepoints: Savepoints
    eyes: Eyes
    clients: Clients
    lanes: Lanes
    clock: Clock
    # Finds a savepoint that Flink has forgotten.
    find_kept: Callable[[str | None], str | None] = kept_in
    # Tells, before something is done that cannot be undone, that nobody else operates the job.
    guard: Guard = field(default_factory=NobodyElse)
    _prepared: dict[str, Prepared] = field(default_factory=dict)

    @property
    def savepoint_folder(self) -> str | None:
        """Where a job's savepoints are put; None where the cluster has no folder for them."""
        return self.eyes.settings().get(_SAVEPOINTS)

    @property
    def checkpoint_folder(self) -> str | None:
        """Where Flink keeps checkpoints; None where it keeps them in its memory."""
        return self.eyes.settings().get(CHECKPOINTS)

    def prepare(self, release: Release, flink_job: str, lane: Lane = LIVE) -> Prepared:
        """Return the client that will start a release under an id; begun only once."""
        if flink_job not in self._prepared:
            self._prepared[flink_job] = self.clients.prepare(release, flink_job, lane)
        return self._prepared[flink_job]

    def forget(self, flink_job: str) -> None:
        """Let go of a client that is not needed for the time being."""
        prepared = self._prepared.pop(flink_job, None)
        if prepared is not None:
            prepared.close()

    def close(self) -> None:
        """Forget what was prepared and not started."""
        for prepared in self._prepared.values():
            prepared.close()
        self._prepared.clear()
