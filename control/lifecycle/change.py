"""Change what runs: suspend, start, watch, and take it back when it is not well."""

import uuid
from dataclasses import replace
from typing import Any

from control.lifecycle.back import TakenBackError, WayBack
from control.lifecycle.deployments import Deployment
from control.lifecycle.plan import How, Plan
from control.lifecycle.run import Run, StepFailedError
from control.lifecycle.start import start
from control.lifecycle.suspend import last_snapshot, suspend
from control.lifecycle.trial import Trying
from control.lifecycle.watch import allowed_after, refusals, watch_job
from control.lifecycle.words import (
    DeploymentState,
    Desired,
    Event,
    Kind,
    OperationState,
    Origin,
    Step,
)
from control.lifecycle.workplace import Workplace
from jobs.spec import JobSpec, spec_from_json

_ORIGINS = {
    Kind.DEPLOY: Origin.UPGRADE, Kind.UPGRADE: Origin.UPGRADE, Kind.ROLLBACK: Origin.ROLLBACK,
    Kind.SCALE: Origin.SCALE, Kind.RESTART: Origin.CHECKPOINT,
}


class Change:
    """One change of a job: carried out, or resumed where a killed command left it."""

    def __init__(self, run: Run, place: Workplace, plan: Plan) -> None:
        self._run = run
        self._place = place
        self._plan = plan
        self._number = run.operation.number
        self._job = plan.release.job
        self._spec: JobSpec = spec_from_json(plan.release.spec)
        # The share of messages that the version before refused, as far as that was seen.
        self._refused_before = 0.0
        self._trying = Trying(run, place, plan, plan.trial) if plan.trial else None

    def carry_out(self) -> str:
        """Do it; return how it ended. What was not well is taken back, and raises."""
        if self._trying is not None:
            self._try_out(self._trying)
        kept = self._suspend()
        path = kept if self._plan.restore.suspended else self._plan.restore.path
        try:
            started = self._run.step(Step.START, lambda: self._mean_start(path), self._start)
            watched = self._run.step(Step.WATCH, lambda: dict(started), self._watch)
        except StepFailedError as failure:
            self._take_back(kept, failure)
            raise
        number = int(started["deployment"])
        self._settle_books(number)
        outcome = (f"{self._job} runs as deployment {number}, job {started['flink_job']},"
                   f" version {self._plan.release.version}: {watched['checkpoints']} checkpoints"
                   f" in {watched['seconds']} s.")
        self._end(OperationState.DONE, Event.HEALTHY, outcome)
        return outcome

    def undo(self) -> str:
        """Give up a change that was left unfinished; what ran before runs again."""
        if not self._run.knows(Step.SUSPEND) and not self._run.knows(Step.START):
            if self._trying is not None:
                self._trying.clear()
            outcome = "Undone before anything was touched."
            self._end(OperationState.UNDONE, Event.RETURNED, outcome)
            return outcome
        kept = self._suspend()
        # Whoever resumes an undoing that is killed as well must go on with it.
        if not self._run.has_done(Step.START):
            self._run.fail(Step.START, "undone by hand")
        else:
            self._run.fail(Step.WATCH, "undone by hand")
        failure = StepFailedError(Step.WATCH, {"error": "undone by hand"})
        try:
            self._take_back(kept, failure, OperationState.UNDONE)
        except TakenBackError as done:
            return done.message
        return ""

    def _try_out(self, trying: Trying) -> None:
        """Run the new version beside the old one first; where it is no good, nothing changes."""
        try:
            tried = trying.carry_out()
            self._refused_before = tried["refused"] / max(tried["judged"], 1)
        except StepFailedError as failure:
            outcome = f"{failure.message} What ran before runs on untouched."
            try:
                trying.clear()
            except StepFailedError as left:
                outcome += f" What the trial wrote could not be deleted: {left.message}"
            self._end(OperationState.FAILED, Event.UNHEALTHY, outcome)
            message = f"The trial of {self._job} failed: {outcome}"
            hint = failure.hint or f"`sluice history show {self._number}` has every step."
            raise TakenBackError(message, hint) from failure
        trying.clear()
        # Built again before anything is stopped: it waits for the word.
        self._place.prepare(self._plan.release, self._plan.flink_job).graph()

    def _suspend(self) -> str | None:
        """End what runs; return where its state is kept."""
        if self._plan.suspend.how is How.NOTHING:
            return self._plan.restore.path
        try:
            result = self._run.step(Step.SUSPEND, self._mean_suspend, self._act_suspend)
        except StepFailedError as failure:
            self._end(OperationState.FAILED, Event.UNHEALTHY, failure.message)
            raise
        self._refused_before = max(self._refused_before, float(result.get("refused_before", 0)))
        deployment = self._before()
        if deployment is not None:
            self._place.deployments.set_state(deployment.number, DeploymentState.ENDED)
        return str(result["path"])

    def _act_suspend(self, meant: Any) -> dict[str, Any]:
        kept = suspend(self._place, meant)
        self._place.ledger.tell(self._job, Event.SUSPENDED, f"its state is in {kept['path']}",
                                self._number)
        return {**kept, "refused_before": meant.get("refused_before", 0.0)}

    def _mean_suspend(self) -> dict[str, Any]:
        suspend_plan = self._plan.suspend
        before = self._before()
        # The last moment at which anybody can tell what is usual.
        sight = self._place.eyes.sight(str(suspend_plan.flink_job), self._spec.health)
        return {
            "refused_before": sight.share_refused,
            "how": suspend_plan.how.value, "job": self._job,
            "flink_job": suspend_plan.flink_job, "trigger": uuid.uuid4().hex,
            "folder": self._place.savepoint_folder, "drain": suspend_plan.drain,
            # It is read at once, and by the same backend: the gap is shorter by it.
            "native": True,
            "max_age_seconds": suspend_plan.max_age_seconds,
            "origin": _ORIGINS[self._plan.kind].value, "operation": self._number,
            "deployment": before.number if before else None,
            # Where Flink forgets the job before its end is written down.
            "snapshot": (last_snapshot(self._place, str(suspend_plan.flink_job))
                         if suspend_plan.how is How.LAST_CHECKPOINT else None),
        }

    def _before(self) -> Deployment | None:
        job = self._plan.suspend.flink_job
        return self._place.deployments.of_flink_job(job) if job else None

    def _mean_start(self, path: str | None) -> dict[str, Any]:
        return {
            "flink_job": self._plan.flink_job, "path": path, "operation": self._number,
            "allow_dropped": self._plan.restore.allow_dropped,
        }

    def _start(self, meant: Any) -> dict[str, Any]:
        self._run.say(f"starting version {self._plan.release.version}")
        started = start(self._place, self._plan.release, meant)
        self._place.ledger.tell(
            self._job, Event.STARTED,
            f"deployment {started['deployment']}, from {meant['path'] or 'no state'}",
            self._number,
        )
        return started

    def _watch(self, meant: Any) -> dict[str, Any]:
        watch = replace(self._plan.watch, max_refused=self._may_refuse)
        return watch_job(self._place, str(meant["flink_job"]), self._spec.health, watch,
                         lambda text: self._run.say(f"watching: {text}"))

    @property
    def _may_refuse(self) -> float:
        return max(self._plan.watch.max_refused, allowed_after(self._refused_before))

    def _take_back(
        self, path: str | None, failure: StepFailedError,
        state: OperationState = OperationState.FAILED,
    ) -> None:
        """End the new version; start the one before again, from the state that loses nothing."""
        self._place.ledger.tell(self._job, Event.UNHEALTHY, failure.message, self._number)
        back = WayBack(self._run, self._place, self._plan)
        old = back.old
        if old is not None and not self._run.knows(Step.RETURN):
            self._run.say(f"not well: {failure.message} Going back to deployment {old.number}.")
        try:
            halted = back.halt(path, failure.message, self._refuses)
        except StepFailedError as second:
            outcome = f"{failure.message} It was ended, and nothing runs: {second.message}"
            self._end(OperationState.FAILED, Event.GIVEN_UP, outcome)
            raise TakenBackError(outcome, second.hint) from second
        if old is None:
            if self._plan.kind is not Kind.RESTART:
                self._place.deployments.want(self._job, Desired.STOPPED)
            outcome = (f"{self._plan.kind} of {self._job} failed: {failure.message} Nothing of it"
                       " runs.")
            self._end(state, Event.GIVEN_UP, outcome)
            raise TakenBackError(outcome, self._way_on(halted.get("path")))
        try:
            number = back.start_again(old, halted)
        except StepFailedError as second:
            outcome = (f"{failure.message} The version before does not run either:"
                       f" {second.message}")
            self._end(OperationState.FAILED, Event.GIVEN_UP, outcome)
            raise TakenBackError(outcome, self._way_on(halted.get("path"))) from second
        self._settle_books(number)
        outcome = (f"{self._plan.kind} of {self._job} was taken back: {failure.message} What ran"
                   f" before runs again as deployment {number}, job {halted['return_as']},"
                   f" from {halted['path']} ({halted['why']}).")
        self._end(state, Event.RETURNED, outcome)
        raise TakenBackError(outcome, "`sluice history show "
                             f"{self._number}` has every step.")

    def _refuses(self) -> bool:
        """Tell whether the new version refuses more than it may."""
        sight = self._place.eyes.sight(self._plan.flink_job, self._spec.health)
        return refusals(sight, self._may_refuse) is not None

    def _settle_books(self, number: int) -> None:
        """Write down what runs now."""
        deployments = self._place.deployments
        for other in deployments.all(self._job):
            if other.number != number and other.state is DeploymentState.LIVE:
                deployments.set_state(other.number, DeploymentState.ENDED)
        deployments.set_state(number, DeploymentState.LIVE)
        deployments.want(self._job, Desired.RUNNING)

    def _end(self, state: OperationState, event: Event, outcome: str) -> None:
        self._place.ledger.tell(self._job, event, outcome, self._number)
        self._place.ledger.end(self._number, state, outcome)

    def _way_on(self, path: str | None) -> str:
        return (f"Its state is in {path}: `sluice deploy {self._job} --from {path}` goes on from"
                " it." if path else f"`sluice deploy {self._job}` tries again.")
