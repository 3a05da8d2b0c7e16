"""Replays of the counting job on a control plane in memory."""


from control.lifecycle.ledger import Operation
from control.lifecycle.progress import Positions
from control.lifecycle.replay import Closing, Replaying
from control.lifecycle.replay_plan import ReplayPlan, replay_job
from control.lifecycle.run import Say
from control.lifecycle.words import Kind
from jobs.lane import Into, Lane
from tests.kit.fake_flink_job import FakeJob
from tests.unit.lifecycle_kit import SPEC, Plane

MESSAGES = 1_000
# Of the fake's job, once all of it runs.
_SECONDS = 10.0


class FakeOutlets:
    """Remembers what was asked for."""

    def __init__(self) -> None:
        self.there = False
        self.made = 0
        self.closing = Closing(True, "Proven: all.")
        self.all_read = False
        self.asked = 0
        self.error: Exception | None = None

    def make(self, lane: Lane) -> None:
        self.there = True
        self.made += 1

    def remove(self, lane: Lane) -> None:
        self.there = False

    def has_read(self, lane: Lane, positions: Positions) -> bool:
        self.asked += 1
        return self.all_read

    def forget(self, lane: Lane) -> None:
        pass

    def compare(self, lane: Lane, begun: float, say: Say) -> Closing:
        if self.error is not None:
            raise self.error
        return self.closing


class ReplayPlane(Plane):
    """The live job, and a replay of it that takes ten seconds in Flink."""

    def __init__(self, into: Into = Into.SHADOW) -> None:
        super().__init__()
        self.deploy(self.release("1", SPEC))
        self.wait(20)
        self.reached.clear()
        self.outlets = FakeOutlets()
        self.plan = ReplayPlan(
            "counting", self.release("1", SPEC), into, 1_000, 2_000, None, "a" * 32,
            {"numbers": {0: (0, MESSAGES)}},
        )
        # Jobs that do not end by themselves.
        self.endless = False
        self.flink.when_submitted = self._taken

    def _taken(self, job: FakeJob) -> None:
        if "replay" in job.name and not self.endless:
            self.clock.later(_SECONDS, lambda: self._finish(job))

    def _finish(self, job: FakeJob) -> None:
        if self.flink.jobs.get(job.id) is job and not job.is_over:
            self.flink.finish(job.id)

    def replay(self) -> str:
        """Begin a replay and carry it out."""
        operation = self.ledger.begin(
            replay_job("counting"), Kind.REPLAY, self.plan.as_json(), "a test"
        )
        return self.replaying(operation).carry_out()

    def go_on(self, *, restart: bool = False) -> str:
        """Resume the replay in another process."""
        return self._anew().carry_out(again=True, restart=restart)

    def cancel(self) -> str:
        """Cancel the replay in another process."""
        return self._anew().cancel()

    def _anew(self) -> Replaying:
        self.another_process()
        operation = self.ledger.unfinished(replay_job("counting"))
        assert operation is not None
        return self.replaying(operation)

    def replaying(self, operation: Operation) -> Replaying:
        """Return a replay under way."""
        return Replaying(self.run(operation), self.place, self.plan, self.outlets)

    @property
    def lane_jobs(self) -> list[FakeJob]:
        """The jobs of the replay that live."""
        return [job for job in self.flink.live() if "replay" in job.name]

    @property
    def state(self) -> str:
        """How far the newest operation is."""
        return self.ledger.operations[max(self.ledger.operations)].state.value
