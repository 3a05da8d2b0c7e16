"""A control plane in memory that the control loop looks after, and others who hold its jobs."""

from types import TracebackType
from typing import Any, cast

import pytest

from control.archive.store import ArchiveStore
from control.errors import RefusedError
from control.lifecycle import perform
from control.lifecycle.loop import look_after
from control.lifecycle.open import Desk
from control.lifecycle.words import Event
from control.settings import load_settings
from tests.kit.fake_flink_job import FakeJob
from tests.unit.lifecycle_kit import Plane


class LoopPlane(Plane):
    """A job that has run for a while, and the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        # Who holds which job, and which were held by commands of ours meanwhile.
        self.holders: dict[str, str] = {}
        self.held: list[str] = []
        monkeypatch.setattr(perform, "Hold", self._hold)
        monkeypatch.setattr(perform, "fault", self.reach)
        self.deploy()
        self.wait(20)
        self.reached.clear()
        self.flink.forbid_two = True

    @property
    def desk(self) -> Desk:
        """What commands work with."""
        return Desk(load_settings(), self.place, cast(ArchiveStore, None))

    @property
    def job(self) -> FakeJob:
        """The job that lives."""
        [found] = self.flink.live("counting")
        return found

    def look(self, times: int = 1) -> list[str]:
        """Let the loop look at its jobs, every ten seconds; return what it said."""
        for _ in range(times):
            self.another_process()
            self.said.clear()
            look_after(self.desk, self.said.append)
            self.wait(10)
        return self.said

    def events(self, event: Event) -> list[str]:
        """Return what was told of one kind by the loop itself."""
        return [row.detail for row in self.ledger.told
                if row.event is event and row.operation is None]

    def let_crash(self, after: float = 0.1) -> None:
        """Let each job that is submitted from now on fail for good."""
        self.flink.when_submitted = lambda job: self.flink.crash(job.id, after=after, restarts=0)

    def let_run(self) -> None:
        """Let what is submitted run."""
        self.flink.when_submitted = None

    def _hold(self, _dsn: Any, job: str) -> "_Hold":
        return _Hold(self, job)


class _Hold:
    """A lease in memory."""

    def __init__(self, plane: LoopPlane, job: str) -> None:
        self._plane = plane
        self._job = job

    def __enter__(self) -> "_Hold":
        holder = self._plane.holders.get(self._job)
        if holder is not None:
            message = f"{holder} holds 'job {self._job}' since 12:00:00 UTC."
            raise RefusedError(message, "Wait for it to end.")
        self._plane.holders[self._job] = "the loop"
        self._plane.held.append(self._job)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        # A killed holder is in nobody's way.
        del self._plane.holders[self._job]

    def check(self) -> None:
        """Find that it is ours."""
