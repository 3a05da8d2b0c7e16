"""The cluster of the fake, as a test plays with it: submit, break, lose, restart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tests.kit.fake_clock import FakeClock
from tests.kit.fake_flink_checkpoints import Snapshot, normal
from tests.kit.fake_flink_job import Crash, FakeJob, FakeVertex
from tests.kit.fake_flink_life import FakeLives


class DuplicateJobError(Exception):
    """Flink has a job of this id."""


class TwoLiveJobsError(AssertionError):
    """Two jobs of one name would live at once."""


@dataclass(frozen=True)
class Started:
    """A job that was submitted and taken."""

    at: float
    id: str
    name: str
    savepoint: str | None
    parallelism: int
    user_config: Mapping[str, str] = field(default_factory=dict)


class FakeCluster(FakeLives):
    """Jobs in a cluster whose time is a test's."""

    def __init__(self, clock: FakeClock | None = None, slots: int = 9) -> None:
        super().__init__(clock, slots)
        self.task_managers = 3
        # Without it a JobManager that starts again knows no job.
        self.highly_available = True
        # Whether the adaptive scheduler runs, which alone can rescale.
        self.adaptive = False
        # Whether a second live job of a name is an error of the test.
        self.forbid_two = False
        self.started: list[Started] = []
        # Called with each job that was taken, so that a test can give it its faults.
        self.when_submitted: Callable[[FakeJob], None] | None = None
        self._refused_until = 0.0
        self._elected_at = 0.0

    def submit(  # noqa: PLR0913 - what Flink's own submission takes
        self, job_id: str, name: str, *, parallelism: int = 1, savepoint: str | None = None,
        user_config: Mapping[str, str] = MappingProxyType({}), uids: Sequence[str] = (),
        vertices: Sequence[str] = (), max_parallelism: int = 720, allow_dropped: bool = False,
    ) -> FakeJob:
        """Take a job as Flink's submission does."""
        if self.clock.now() < self._elected_at:
            message = "no JobManager answers"
            raise ConnectionError(message)
        known = self.jobs.get(job_id)
        # With high availability the result of an ended job is deleted with its other traces, and
        # its id is free again (job-result-store.delete-on-commit).
        if known is not None and not (known.is_over and self.highly_available):
            message = f"{job_id}: Job has already been submitted."
            raise DuplicateJobError(message)
        if self.forbid_two and (live := self.live(name)):
            message = f"{name} lives already, as {[job.id for job in live]}"
            raise TwoLiveJobsError(message)
        job = FakeJob(
            job_id, name, dict(user_config), frozenset(uids),
            [FakeVertex(one, parallelism, max_parallelism)
             for one in vertices or (f"Source: {name}",)],
            None if savepoint is None else normal(savepoint), allow_dropped, self.clock.now(),
        )
        job.wanted = {vertex.id: (1, vertex.parallelism) for vertex in job.vertices}
        self.jobs.pop(job_id, None)
        self.jobs[job_id] = job
        self.started.append(Started(
            self.clock.now(), job_id, name, job.savepoint, parallelism, dict(user_config)
        ))
        self._initialize(job)
        if self.when_submitted is not None:
            self.when_submitted(job)
        return job

    def live(self, name: str | None = None) -> list[FakeJob]:
        """Return the jobs that have not ended, of one name or all."""
        return [job for job in self.jobs.values()
                if not job.is_over and name in {None, job.name}]

    def keep(self, path: str, uids: Sequence[str] = ()) -> Snapshot:
        """Put a savepoint on disk, as if some job had left it."""
        path = normal(path)
        snapshot = Snapshot(path, "", 1, self.clock.now(), is_savepoint=True, uids=frozenset(uids))
        self.files[path] = snapshot
        return snapshot

    def newest_state(self, job_id: str) -> Snapshot | None:
        """Return the newest snapshot of a job that lies on disk: where it must be gone on from."""
        own = [one for one in self.files.values() if one.job == job_id]
        return max(own, key=lambda one: one.number, default=None)

    def fail(
        self, job_id: str, stack: str = "java.lang.RuntimeException: it broke", *,
        after: float = 0, restarts: bool = True,
    ) -> None:
        """Let a job fail once, now or later; it comes back, or is FAILED."""
        self._plan(self.jobs[job_id], after,
                   lambda job: self._fail(job, stack, restarts=restarts))

    def crash(
        self, job_id: str, stack: str = "java.lang.RuntimeException: it broke", *,
        after: float = 1.0, restarts: int | None = None,
    ) -> None:
        """Let a job fail whenever it runs for a while; None: it comes back each time."""
        job = self.jobs[job_id]
        job.crash = Crash(after, stack, restarts)
        if job.runs:
            self._plan(job, after, self._crash)

    def finish(self, job_id: str) -> None:
        """Let a job end by itself."""
        self._end(self.jobs[job_id], "FINISHED")

    def forget(self, job_id: str) -> None:
        """Let Flink lose a job."""
        job = self.jobs.pop(job_id)
        job.run += 1

    def restart_jobmanager(self, away: float = 2.0, electing: float = 1.0) -> None:
        """Kill the JobManager: connections are refused, then it elects itself, then jobs return."""
        self._refused_until = self.clock.now() + away
        self._elected_at = self._refused_until + electing
        for job in list(self.jobs.values()):
            job.run += 1
            if job.is_over or not self.highly_available:
                del self.jobs[job.id]
                continue
            self._free(job)
            self._set(job, "INITIALIZING", "CREATED")
            self._plan(job, away + electing, self._recover)

    def cancel(self, job: FakeJob) -> None:
        """Cancel a job that has not ended."""
        if job.state == "CANCELLING":
            return
        job.run += 1
        self._set(job, "CANCELLING", "CANCELING")
        self._plan(job, self.timing.cancel, lambda one: self._end(one, "CANCELED"))

    def rescale(self, job: FakeJob, wanted: Mapping[str, tuple[int, int]]) -> None:
        """Give a job another parallelism, as far as there are slots: it is restarted for that."""
        job.wanted = dict(wanted)

        def apply(job: FakeJob) -> None:
            room = self.free_slots + job.slots
            job.vertices = [
                FakeVertex(one.name, min(job.wanted[one.id][1], max(room, 1)), one.max_parallelism)
                for one in job.vertices
            ]
            self._restart(job)

        self._plan(job, self.timing.rescale, apply)
