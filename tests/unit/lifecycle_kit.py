"""A control plane in memory: its tables, clients that submit to the fake Flink, crashes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from control.errors import SluiceError
from control.flink import FlinkClient
from control.lanes.findings import OutputFindings
from control.lifecycle.addresses import normal as normal_address
from control.lifecycle.change import Change
from control.lifecycle.decide import Wish, decide_change, decide_deploy
from control.lifecycle.deployments import Deployment, Deployments, Release, Wanted
from control.lifecycle.ending import Ending, EndPlan
from control.lifecycle.eyes import Eyes
from control.lifecycle.graph import Graph, Operator
from control.lifecycle.ledger import EventRow, Ledger, Operation, StepRow, busy
from control.lifecycle.plan import How, Plan, plan_from_json
from control.lifecycle.run import Run
from control.lifecycle.savepoints import Savepoint, Savepoints
from control.lifecycle.words import (
    DeploymentState,
    Desired,
    Event,
    Kind,
    OperationState,
    Origin,
    SavepointState,
    Step,
)
from control.lifecycle.workplace import Workplace
from control.reconcile.findings import Kind as Differing
from control.savepoint_metadata import operator_id
from jobs.lane import LIVE, Lane
from jobs.spec import Health, JobSpec, Output, StatePart, UpgradePolicy
from tests.kit.fake_clock import FakeClock
from tests.kit.fake_flink import FakeFlink
from tests.kit.fake_flink_checkpoints import normal

SPEC = JobSpec(
    name="counting", purpose="counts", module="jobs.counting", inputs=("numbers",),
    writes=(Output("answers", harmless=False, again="a number may be counted twice"),),
    state=(StatePart("numbers", "kafka-offsets/1", "how far numbers is read"),
           StatePart("count", "count/1", "the counts"),
           StatePart("letters", "kafka-transactions/1", "open transactions")),
    health=Health(judged=("sluice.events_in",), refused=("sluice.events_refused",)),
    upgrade=UpgradePolicy(checkpoints=3, watch_seconds=10, give_up_seconds=60),
    lanes=True,
)
UIDS = ("numbers", "count", "answers")


class KilledError(BaseException):
    """The command was killed: nothing of it runs any more, not even a handler of errors."""


class MemoryLedger(Ledger):
    """Operations in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.operations: dict[int, Operation] = {}
        self.rows: dict[int, list[StepRow]] = {}
        self.told: list[EventRow] = []

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def begin(self, job: str, kind: Kind, plan: Mapping[str, Any], reason: str) -> Operation:
        other = self.unfinished(job)
        if other is not None:
            raise busy(other, job)
        number = len(self.operations) + 1
        self.operations[number] = Operation(
            number, job, kind, OperationState.RUNNING, plan, "ada", "desk", reason, "",
            self._now(), None,
        )
        self.rows[number] = []
        return self.operations[number]

    def refuse(
        self, job: str, kind: Kind, plan: Mapping[str, Any], reason: str, outcome: str
    ) -> None:
        number = len(self.operations) + 1
        self.operations[number] = Operation(
            number, job, kind, OperationState.REFUSED, plan, "ada", "desk", reason, outcome,
            self._now(), self._now(),
        )
        self.rows[number] = []

    def end(self, number: int, state: OperationState, outcome: str) -> None:
        one = self.operations[number]
        if one.state is OperationState.RUNNING:
            self.operations[number] = replace(
                one, state=state, outcome=outcome, ended_at=self._now()
            )

    def unfinished(self, job: str) -> Operation | None:
        return next((one for one in self.operations.values()
                     if one.job == job and one.state is OperationState.RUNNING), None)

    def operation(self, number: int) -> Operation | None:
        return self.operations.get(number)

    def all_unfinished(self) -> list[Operation]:
        return [one for one in self.operations.values() if one.state is OperationState.RUNNING]

    def history(
        self, job: str | None, limit: int, kind: Kind | None = None
    ) -> list[Operation]:
        found = [one for one in self.operations.values()
                 if job in {None, one.job} and kind in {None, one.kind}]
        return sorted(found, key=lambda one: -one.number)[:limit]

    def steps(self, operation: int) -> list[StepRow]:
        return list(self.rows[operation])

    def intend(self, operation: int, step: Step, intention: Mapping[str, Any]) -> None:
        if all(row.step is not step for row in self.rows[operation]):
            self.rows[operation].append(
                StepRow(step, "intended", dict(intention), None, self._now(), None)
            )

    def end_step(
        self, operation: int, step: Step, result: Mapping[str, Any], *, good: bool
    ) -> None:
        self.rows[operation] = [
            replace(row, state="done" if good else "failed", result=dict(result))
            if row.step is step else row for row in self.rows[operation]
        ]

    def tell(
        self, job: str, event: Event, detail: str, operation: int | None = None, *,
        savepoint: int | None = None, reason: str = "",
    ) -> None:
        self.told.append(EventRow(self._now(), job, operation, event, detail, "ada", "desk",
                                  reason, savepoint))

    def events(
        self, job: str | None = None, operation: int | None = None, limit: int = 100, *,
        savepoint: int | None = None, event: Event | None = None,
    ) -> list[EventRow]:
        return [row for row in self.told if job in {None, row.job}
                and operation in {None, row.operation} and savepoint in {None, row.savepoint}
                and event in {None, row.event}][-limit:]


class MemoryDeployments(Deployments):
    """Deployments in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.rows: dict[int, Deployment] = {}
        self.desired: dict[str, Wanted] = {}

    def add(
        self, release: Release, operation: int, flink_job: str, restored_from: str | None
    ) -> int:
        known = self.of_flink_job(flink_job)
        if known is not None:
            return known.number
        number = len(self.rows) + 1
        self.rows[number] = Deployment(
            number, release, operation, None, flink_job, restored_from,
            DeploymentState.STARTING, datetime.fromtimestamp(self._clock.now(), UTC), None,
        )
        return number

    def set_graph(self, number: int, graph: Mapping[str, Any]) -> None:
        self.rows[number] = replace(self.rows[number], graph=graph)

    def set_parallelism(self, number: int, parallelism: int) -> None:
        one = self.rows[number]
        self.rows[number] = replace(one, release=one.release.at(parallelism))

    def set_state(self, number: int, state: DeploymentState) -> None:
        self.rows[number] = replace(self.rows[number], state=state)

    def get(self, number: int) -> Deployment | None:
        return self.rows.get(number)

    def of_flink_job(self, flink_job: str) -> Deployment | None:
        return next((one for one in self.rows.values() if one.flink_job == flink_job), None)

    def begun_as(self, beginning: str) -> list[Deployment]:
        return [one for one in self.all() if one.flink_job.startswith(beginning)][:2]

    def live(self, job: str) -> Deployment | None:
        return next((one for one in self.all(job) if one.state is DeploymentState.LIVE), None)

    def last_good(self, job: str, before: int | None = None) -> Deployment | None:
        good = {DeploymentState.LIVE, DeploymentState.ENDED}
        return next((one for one in self.all(job) if one.state in good
                     and (before is None or one.number < before)), None)

    def all(self, job: str | None = None, limit: int = 50) -> list[Deployment]:
        found = [one for one in self.rows.values() if job in {None, one.release.job}]
        return sorted(found, key=lambda one: -one.number)[:limit]

    def want(self, job: str, desired: Desired) -> None:
        known = self.desired.get(job, Wanted(job, desired, None, None, None))
        self.desired[job] = replace(known, desired=desired)

    def wanted(self, job: str | None = None) -> list[Wanted]:
        return [one for one in self.desired.values() if job in {None, one.job}]

    def schedule(
        self, job: str, every: timedelta | None, keep_count: int | None,
        keep_for: timedelta | None,
    ) -> None:
        known = self.desired.get(job, Wanted(job, Desired.STOPPED, None, None, None))
        self.desired[job] = replace(known, savepoint_every=every, keep_count=keep_count,
                                    keep_for=keep_for)


class MemorySavepoints(Savepoints):
    """Savepoints in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.rows: dict[int, Savepoint] = {}

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _of(self, trigger: str) -> Savepoint | None:
        return next((one for one in self.rows.values() if one.trigger == trigger), None)

    def begin(
        self, job: str, flink_job: str, trigger: str, origin: Origin,
        deployment: int | None, operation: int | None = None,
    ) -> int:
        known = self._of(trigger)
        if known is not None:
            return known.number
        number = len(self.rows) + 1
        self.rows[number] = Savepoint(
            number, job, deployment, operation, flink_job, trigger, None, origin,
            SavepointState.PENDING, None, self._now(), None, "", None, "",
        )
        return number

    def complete(self, trigger: str, path: str, size: int | None) -> None:
        one = self._of(trigger)
        if one is not None and one.state is SavepointState.PENDING:
            assert self.at(path) is None, "the table's column is unique"
            self.rows[one.number] = replace(one, state=SavepointState.THERE, path=path,
                                            size=size, completed_at=self._now())

    def fail(self, trigger: str, note: str) -> None:
        one = self._of(trigger)
        if one is not None and one.state is SavepointState.PENDING:
            self.rows[one.number] = replace(one, state=SavepointState.FAILED, note=note)

    def adopt(
        self, job: str, flink_job: str, path: str, origin: Origin,
        deployment: int | None, operation: int | None, size: int | None,
    ) -> int:
        known = self.at(path)
        if known is not None:
            return known.number
        number = len(self.rows) + 1
        self.rows[number] = Savepoint(
            number, job, deployment, operation, flink_job, None, path, origin,
            SavepointState.THERE, size, self._now(), self._now(), "", None, "",
        )
        return number

    def set_state(self, number: int, state: SavepointState, note: str = "") -> None:
        self.rows[number] = replace(self.rows[number], state=state, note=note)

    def verified(self, number: int, how: str, size: int | None) -> None:
        self.rows[number] = replace(self.rows[number], verified=how, size=size,
                                    verified_at=self._now())

    def get(self, number: int) -> Savepoint | None:
        return self.rows.get(number)

    def at(self, path: str) -> Savepoint | None:
        written = {path, normal_address(path)}
        return next((one for one in self.rows.values() if one.path in written), None)

    def of_flink_job(self, flink_job: str) -> list[Savepoint]:
        return [one for one in self.all(None, 1000) if one.flink_job == flink_job]

    def all(
        self, job: str | None = None, limit: int = 100, *, there_only: bool = False
    ) -> list[Savepoint]:
        found = [one for one in self.rows.values() if job in {None, one.job}
                 and (not there_only or one.state is SavepointState.THERE)]
        return sorted(found, key=lambda one: -one.number)[:limit]

    def pending(self, job: str) -> list[Savepoint]:
        return [one for one in self.all(job) if one.state is SavepointState.PENDING]


@dataclass
class FakeClients:
    """Clients whose jobs go to the fake."""

    flink: FakeFlink
    # By version: an error that the client says instead of submitting.
    refusals: dict[str, SluiceError] = field(default_factory=dict)
    prepared: list[str] = field(default_factory=list)
    lanes: dict[str, Lane] = field(default_factory=dict)

    def prepare(
        self, release: Release, flink_job: str, lane: Lane = LIVE
    ) -> "FakePrepared":
        self.prepared.append(flink_job)
        self.lanes[flink_job] = lane
        return FakePrepared(self, release, flink_job, lane)


@dataclass
class FakePrepared:
    """A job that is built."""

    clients: FakeClients
    release: Release
    flink_job: str
    lane: Lane

    def graph(self) -> Graph:
        return Graph("process", tuple(
            Operator(operator_id(uid), uid, uid, uid, self.release.parallelism, 720)
            for uid in UIDS
        ))

    def start(self, savepoint: str | None, *, allow_dropped: bool) -> None:
        if self.release.version in self.clients.refusals:
            raise self.clients.refusals[self.release.version]
        self.clients.flink.submit(
            self.flink_job, self.lane.own(self.release.job), parallelism=self.release.parallelism,
            savepoint=savepoint, uids=UIDS, allow_dropped=allow_dropped,
            user_config={"version": self.release.version},
        )

    def close(self) -> None:
        """Nothing runs yet."""


@dataclass
class FakeLanes:
    """What lanes write to, in memory."""

    there: set[str] = field(default_factory=set)
    # How many of 100 records differ, each time somebody compares; the last for ever.
    differing: list[int] = field(default_factory=lambda: [0])
    compared: int = 0
    # So often nothing can be deleted.
    away: int = 0

    def make(self, _spec: JobSpec, lane: Lane) -> None:
        self.there.add(lane.name)

    def remove(self, _spec: JobSpec, lane: Lane) -> None:
        if self.away:
            self.away -= 1
            message = "Kafka is away."
            raise SluiceError(message)
        self.there.discard(lane.name)

    def compare(self, _spec: JobSpec, lane: Lane, *_: Any) -> list[OutputFindings]:
        assert lane.name in self.there
        found = self.differing[min(self.compared, len(self.differing) - 1)]
        self.compared += 1
        different = Differing(found, ["1"] * found)
        return [OutputFindings("answers", 100, 100, different=different)]


class Plane:
    """A control plane in memory, and the commands of its engineers."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.flink = FakeFlink(self.clock)
        self.flink.forbid_two = True
        self.flink.highly_available = True
        self.flink.settings |= {
            "execution.checkpointing.savepoint-dir": self.flink.savepoint_folder,
            "execution.checkpointing.dir": self.flink.checkpoint_folder,
        }
        self.clients = FakeClients(self.flink)
        self.lanes = FakeLanes()
        self.ledger = MemoryLedger(self.clock)
        self.deployments = MemoryDeployments(self.clock)
        self.savepoints = MemorySavepoints(self.clock)
        self.said: list[str] = []
        # The moment at which the next command is killed.
        self.kill_at = ""
        self.reached: list[str] = []
        self.place = self._open()

    def another_process(self) -> None:
        """Forget what only the last command knew."""
        self.place = self._open()

    def _open(self) -> Workplace:
        client = FlinkClient("http://flink", transport=self.flink)
        return Workplace(
            self.ledger, self.deployments, self.savepoints, Eyes(client, self.clock),
            self.clients, self.lanes, self.clock, self._find_kept,
        )

    def _find_kept(self, folder: str | None) -> str | None:
        here = normal(folder or "")
        return next((path for path in self.flink.files if path.startswith(f"{here}/")), None)

    def reach(self, moment: str) -> None:
        """Die here if that was wished for."""
        self.reached.append(moment)
        if moment == self.kill_at:
            self.kill_at = ""
            raise KilledError(moment)

    def release(self, version: str = "1", spec: JobSpec = SPEC, parallelism: int = 1) -> Release:
        """Return code of a version."""
        return Release("counting", f"archive-{version}", version, spec.as_json(), {}, parallelism)

    def deploy(self, release: Release | None = None, wish: Wish | None = None) -> str:
        """Deploy the job."""
        live = self.place.eyes.flink.live_job("counting")
        plan = decide_deploy(self.place, release or self.release(), live, wish or Wish())
        return self.change(plan)

    def upgrade(self, release: Release | None = None, wish: Wish | None = None) -> str:
        """Upgrade the job."""
        live = self.place.eyes.flink.live_job("counting")
        plan = decide_change(self.place, Kind.UPGRADE, release or self.release("2"), live, 0.0,
                             wish or Wish())
        return self.change(plan)

    def change(self, plan: Plan) -> str:
        """Carry a plan out."""
        operation = self.ledger.begin("counting", plan.kind, plan.as_json(), "a test")
        return Change(self.run(operation), self.place, plan).carry_out()

    def stop(self, how: How = How.SAVEPOINT, *, drain: bool = False) -> str:
        """Stop the job, or cancel it."""
        live = self.place.eyes.flink.live_job("counting")
        assert live is not None
        plan = EndPlan("counting", live.id, how, drain)
        operation = self.ledger.begin("counting", Kind.STOP, plan.as_json(), "a test")
        return Ending(self.run(operation), self.place, plan).carry_out()

    def resume(self, *, undo: bool = False) -> str:
        """Take up what was left unfinished, in another process."""
        self.another_process()
        operation = self.ledger.unfinished("counting")
        assert operation is not None
        change = Change(self.run(operation), self.place, plan_from_json(operation.plan))
        return change.undo() if undo else change.carry_out()

    def run(self, operation: Operation) -> Run:
        """Return an operation under way."""
        return Run(operation, self.ledger, self.place.guard, self.said.append, self.reach)

    def live_version(self) -> str | None:
        """Return the version that runs."""
        live = self.flink.live("counting")
        return live[0].user_config["version"] if live else None

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.sleep(seconds)


def running_plane() -> Plane:
    """Return a control plane whose job has run for a while."""
    plane = Plane()
    plane.deploy()
    plane.wait(20)
    return plane


def last_operation(plane: Plane) -> Operation:
    """Return the newest operation."""
    return plane.ledger.operations[max(plane.ledger.operations)]

