"""Begin an operation, or take one up again, while the job is held."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from control.errors import RefusedError, SluiceError
from control.fault import fault
from control.flink import FlinkAwayError
from control.flink_answers import FlinkJob
from control.lanes.closing import ReplayOutlets
from control.lifecycle.book import BookAwayError
from control.lifecycle.change import Change
from control.lifecycle.ending import Ending, EndPlan, end_plan_from_json
from control.lifecycle.hold import Hold
from control.lifecycle.ledger import Operation, busy
from control.lifecycle.open import Desk
from control.lifecycle.plan import Plan, plan_from_json
from control.lifecycle.replay import Replaying
from control.lifecycle.replay_plan import ReplayPlan, replay_plan_from_json
from control.lifecycle.rescale import Rescaling, ScalePlan, scale_plan_from_json
from control.lifecycle.run import Run, Say
from control.lifecycle.words import Event, Kind, because
from control.lifecycle.workplace import Workplace

AnyPlan = Plan | EndPlan | ScalePlan | ReplayPlan

_ENDINGS = frozenset({Kind.STOP, Kind.CANCEL})


@dataclass(frozen=True)
class Held:
    """A job that only this command operates."""

    desk: Desk
    job: str

    @property
    def place(self) -> Workplace:
        """What operations work with."""
        return self.desk.place

    def live(self) -> FlinkJob | None:
        """Return the job that is there in Flink."""
        return there(self.place, self.job)

    def begin(self, plan: AnyPlan, kind: Kind, reason: str, say: Say) -> str:
        """Write an operation down and carry it out; return how it ended."""
        operation = self.place.ledger.begin(self.job, kind, plan.as_json(), reason)
        return self._operate(operation, plan, say)

    def resume(
        self, operation: Operation, say: Say, *, undo: bool, restart: bool = False,
        reason: str = "",
    ) -> str:
        """Finish an operation that a killed command left, or undo it.

        `restart`: a replay reads all again where Flink has forgotten how far it was.
        """
        if undo:
            _refuse_to_undo(operation)
        meant = "to undo it" if undo else "to finish it"
        self.place.ledger.tell(self.job, Event.RESUMED, because(meant, reason), operation.number)
        if operation.kind in _ENDINGS:
            return self._operate(operation, end_plan_from_json(operation.plan), say)
        if operation.kind is Kind.REPLAY:
            return self._resume_replay(operation, say, undo=undo, restart=restart)
        if operation.plan.get("in_place"):
            return self._operate(operation, scale_plan_from_json(operation.plan), say)
        plan = plan_from_json(operation.plan)
        if undo:
            return Change(self._run(operation, say), self.place, plan).undo()
        return self._operate(operation, plan, say)

    def _resume_replay(
        self, operation: Operation, say: Say, *, undo: bool, restart: bool
    ) -> str:
        plan = replay_plan_from_json(operation.plan)
        replaying = self._replaying(self._run(operation, say), plan)
        with _left_open(operation):
            if undo:
                return replaying.cancel()
            return replaying.carry_out(again=True, restart=restart)

    def _operate(self, operation: Operation, plan: AnyPlan, say: Say) -> str:
        with _left_open(operation):
            return self._carry_out(self._run(operation, say), plan)

    def _carry_out(self, run: Run, plan: AnyPlan) -> str:
        if isinstance(plan, EndPlan):
            return Ending(run, self.place, plan).carry_out()
        if isinstance(plan, ScalePlan):
            return Rescaling(run, self.place, plan).carry_out()
        if isinstance(plan, ReplayPlan):
            return self._replaying(run, plan).carry_out()
        return Change(run, self.place, plan).carry_out()

    def _replaying(self, run: Run, plan: ReplayPlan) -> Replaying:
        outlets = ReplayOutlets(self.desk.settings, self.place, plan)
        return Replaying(run, self.place, plan, outlets)

    def _run(self, operation: Operation, say: Say) -> Run:
        return Run(operation, self.place.ledger, self.place.guard, say, fault)


def _refuse_to_undo(operation: Operation) -> None:
    """Refuse to undo what can only be finished."""
    job = operation.job
    after = {
        Kind.STOP: "deploy again", Kind.CANCEL: "deploy again",
        **({Kind.SCALE: f"scale back: `sluice scale {job} N`"}
           if operation.plan.get("in_place") else {}),
    }.get(operation.kind)
    if after is not None:
        message = f"A {operation.kind} cannot be undone, only finished."
        raise RefusedError(message, f"`sluice resume {job}`, then {after}.")


@contextmanager
def _left_open(operation: Operation) -> Iterator[None]:
    """Say of an operation that was cut off how to go on with it."""
    way_on = f"`sluice resume {operation.job}` finishes or undoes it."
    stands = "is not over"
    if operation.kind is Kind.REPLAY:
        number = operation.number
        way_on = (f"`sluice replay show {number}` tells how far it is, `sluice replay resume"
                  f" {number}` waits for it again, `sluice replay cancel {number}` ends it.")
        stands = "goes on in Flink by itself, if it had been started"
    try:
        yield
    except (FlinkAwayError, BookAwayError) as error:
        message = f"{error.message} {operation.title} is not over."
        raise type(error)(message, way_on) from error
    except KeyboardInterrupt as error:
        message = f"Interrupted: {operation.title} {stands}."
        raise SluiceError(message, way_on) from error


@contextmanager
def held(desk: Desk, job: str, *, unfinished: bool = False) -> Iterator[Held]:
    """Hold a job; refused while somebody else does, or left an operation unfinished."""
    with _hold(desk, job) as guard:
        if not unfinished and (other := desk.place.ledger.unfinished(job)) is not None:
            raise where_it_stood(desk.place, other)
        before, desk.place.guard = desk.place.guard, guard
        try:
            yield Held(desk, job)
        finally:
            desk.place.guard = before


@contextmanager
def _hold(desk: Desk, job: str) -> Iterator[Hold]:
    with ExitStack() as stack:
        # Only what taking it raises is told in other words.
        try:
            hold = stack.enter_context(Hold(desk.settings.timescale_dsn, job))
        except RefusedError as error:
            other = desk.place.ledger.unfinished(job)
            if other is None:
                raise
            message = f"{other.title} is under way: {error.message}"
            raise RefusedError(message, error.hint) from error
        yield hold


def there(place: Workplace, job: str) -> FlinkJob | None:
    """Return the job that is there in Flink, also where Flink's list has left it out."""
    flink = place.eyes.flink
    found = flink.live_job(job)
    if found is not None:
        return found
    known = place.deployments.live(job)
    one = flink.job(known.flink_job) if known is not None else None
    return one if one is not None and not one.is_over else None


def where_it_stood(place: Workplace, operation: Operation) -> RefusedError:
    """Return the refusal that says how far an unfinished operation got."""
    steps = place.ledger.steps(operation.number)
    last = steps[-1] if steps else None
    stood = ("it had not begun its first step" if last is None
             else f"step {last.step} ({last.step.description}) was {last.state}")
    refusal = busy(operation, operation.job)
    return RefusedError(f"{refusal.message} Where it stood: {stood}.", refusal.hint)
