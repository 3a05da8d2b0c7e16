"""The lives of the fake's jobs: initialized, placed, checkpointed, restarted, ended."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.kit import fake_flink_words as words
from tests.kit.fake_clock import FakeClock
from tests.kit.fake_flink_checkpoints import FakeCheckpoints, Snapshot, normal
from tests.kit.fake_flink_job import Failure, FakeJob

_SLOT_SECONDS = 300
_NO_SLOT = (
    "org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException: Slot request"
    " bulk is not fulfillable! Could not allocate the required slot within slot request timeout"
)


@dataclass
class Timing:
    """How long everything takes, in seconds of the fake's clock."""

    # From the submission until the job is RUNNING; half of it, it initializes.
    start: float = 1.0
    # Until all tasks run, too.
    deploy: float = 1.0
    cancel: float = 0.5
    # From a failure until it is RUNNING again.
    restart: float = 1.0
    checkpoint_interval: float = 2.0
    savepoint: float = 1.0
    # From the savepoint of a stop until the job is FINISHED.
    stop: float = 0.5
    dispose: float = 0.2
    rescale: float = 1.0
    # For so long Flink shows what it has shown before (web.refresh-interval).
    cache: float = 3.0
    # For so long it remembers the outcome of a trigger (rest.async.store-duration).
    remember: float = 300.0


class FakeLives:
    """What happens to jobs by itself while time passes."""

    def __init__(self, clock: FakeClock | None = None, slots: int = 9) -> None:
        self.clock = clock or FakeClock()
        self.timing = Timing()
        self.slots = slots
        # Checkpoints that are kept of each job; more are deleted.
        self.retained = 3
        self.checkpoint_folder = "file:///checkpoints"
        self.jobs: dict[str, FakeJob] = {}
        # All that lies on disk.
        self.files: dict[str, Snapshot] = {}

    @property
    def free_slots(self) -> int:
        """How many slots no job has."""
        return self.slots - sum(job.slots for job in self.jobs.values())

    def _plan(self, job: FakeJob, seconds: float, action: Callable[[FakeJob], None]) -> None:
        run = job.run

        def act() -> None:
            if job.run == run and self.jobs.get(job.id) is job:
                action(job)

        self.clock.later(seconds, act)

    def _set(self, job: FakeJob, state: str, tasks: str) -> None:
        job.state, job.tasks = state, tasks
        job.changed[state] = self.clock.now()

    def _free(self, job: FakeJob) -> None:
        job.slots = 0
        job.is_stopping = False
        for other in self.jobs.values():
            if other.state == "RUNNING" and other.tasks == "SCHEDULED":
                self._plan(other, 0, self._place)

    def _initialize(self, job: FakeJob) -> None:
        self._set(job, "INITIALIZING", "CREATED")
        self._plan(job, self.timing.start / 2, self._create)

    def _create(self, job: FakeJob) -> None:
        from_path = job.kept[-1].path if job.kept else job.savepoint
        if from_path is not None:
            why = self._cannot_restore(job, from_path)
            if why is not None:
                stack = words.java_stack(
                    "org.apache.flink.runtime.client.JobInitializationException: Could not start"
                    " the JobMaster.", f"java.util.concurrent.CompletionException: {why}", why,
                )
                job.exceptions.append(Failure(self.clock.now(), stack, None))
                job.vertices, job.run = [], job.run + 1
                self._set(job, "FAILED", "CREATED")
                job.ended = self.clock.now()
                return
        self._restore(job)
        self._set(job, "CREATED", "CREATED")
        self._plan(job, self.timing.start / 2, self._run)

    def _cannot_restore(self, job: FakeJob, path: str) -> str | None:
        found = self.files.get(path)
        if found is None:
            return words.no_file_words(path)
        lost = sorted(found.uids - job.uids) if job.uids else []
        if lost and not job.allow_dropped:
            return (f"java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint"
                    f" {path}. Cannot map checkpoint/savepoint state for operator {lost[0]} to the"
                    " new program, because the operator is not available in the new program. If"
                    " you want to allow to skip this, you can set the --allowNonRestoredState"
                    " option on the CLI.")
        return None

    def _restore(self, job: FakeJob) -> None:
        path = job.kept[-1].path if job.kept else job.savepoint
        if path is None or path not in self.files:
            return
        found = self.files[path]
        job.checkpoints.restore(
            found.number, path, self.clock.now(), is_savepoint=found.is_savepoint
        )
        # A job goes on counting where the snapshot's job was.
        job.checkpoints.next_number = max(job.checkpoints.next_number, found.number + 1)

    def _run(self, job: FakeJob) -> None:
        self._set(job, "RUNNING", "SCHEDULED")
        self._plan(job, _SLOT_SECONDS, self._give_up_slots)
        self._place(job)

    def _place(self, job: FakeJob) -> None:
        if self.free_slots < job.parallelism or job.tasks != "SCHEDULED":
            return
        job.slots = job.parallelism
        job.tasks = "DEPLOYING"
        self._plan(job, self.timing.deploy / 2, self._warm_up)
        self._plan(job, self.timing.deploy, self._begin)

    def _warm_up(self, job: FakeJob) -> None:
        job.tasks = "INITIALIZING"

    def _give_up_slots(self, job: FakeJob) -> None:
        if job.tasks == "SCHEDULED":
            self._fail(job, words.java_stack(_NO_SLOT), restarts=True)

    def _begin(self, job: FakeJob) -> None:
        job.tasks = "RUNNING"
        self._plan(job, self.timing.checkpoint_interval, self._checkpoint)
        if job.crash is not None:
            self._plan(job, job.crash.after, self._crash)

    def _checkpoint(self, job: FakeJob) -> None:
        now = self.clock.now()
        if job.completes_checkpoints and not job.is_stopping:
            number = job.checkpoints.take_number()
            path = normal(f"{self.checkpoint_folder}/{job.id}/chk-{number}")
            snapshot = Snapshot(path, job.id, number, now, is_savepoint=False, uids=job.uids)
            self.files[path] = snapshot
            job.kept.append(snapshot)
            while len(job.kept) > self.retained:
                self._discard(job, job.kept.pop(0))
            job.checkpoints.complete(snapshot, now)
        elif not job.is_stopping:
            job.checkpoints.fail(now, now, "Checkpoint expired before completing.")
        self._plan(job, self.timing.checkpoint_interval, self._checkpoint)

    def _discard(self, job: FakeJob, snapshot: Snapshot) -> None:
        self.files.pop(snapshot.path, None)
        job.checkpoints.discard(snapshot.path)

    def _crash(self, job: FakeJob) -> None:
        if job.crash is not None:
            again = job.crash.restarts is None or job.restarts < job.crash.restarts
            self._fail(job, job.crash.stack, restarts=again)

    def _fail(self, job: FakeJob, stack: str, *, restarts: bool) -> None:
        if job.is_over:
            return
        task = f"{job.vertices[0].name} (1/{job.parallelism}) - execution #{job.restarts}"
        job.exceptions.append(Failure(self.clock.now(), stack, task))
        if restarts:
            self._restart(job)
        else:
            self._end(job, "FAILED")

    def _restart(self, job: FakeJob) -> None:
        job.run += 1
        job.restarts += 1
        self._set(job, "RESTARTING", "CANCELED")
        self._free(job)

        def again(job: FakeJob) -> None:
            self._restore(job)
            self._run(job)

        self._plan(job, self.timing.restart, again)

    def _end(self, job: FakeJob, state: str) -> None:
        job.run += 1
        self._set(job, state, state)
        job.ended = self.clock.now()
        if state == "FINISHED":
            # Only what was cancelled or failed leaves its checkpoints.
            for snapshot in job.kept:
                self._discard(job, snapshot)
        self._free(job)

    def _recover(self, job: FakeJob) -> None:
        """Bring a job back under a new JobManager, which knows nothing of what the old one saw."""
        job.started = self.clock.now()
        job.changed, job.exceptions, job.restarts = {}, [], 0
        job.checkpoints = FakeCheckpoints(job.checkpoints.next_number)
        self._initialize(job)
