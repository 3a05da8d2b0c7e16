"""Stop a job with a savepoint, or cancel it."""

import uuid
from dataclasses import asdict, dataclass
from typing import Any

from control.lifecycle.plan import How
from control.lifecycle.run import Run, StepFailedError
from control.lifecycle.suspend import end_job, suspend
from control.lifecycle.words import (
    DeploymentState,
    Desired,
    Event,
    OperationState,
    Origin,
    Step,
)
from control.lifecycle.workplace import Workplace


@dataclass(frozen=True)
class EndPlan:
    """How a job is ended for good."""

    job: str
    flink_job: str
    how: How
    drain: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the plan as it is kept."""
        return asdict(self)


class Ending:
    """The end of a job: carried out, or resumed where a killed command left it."""

    def __init__(self, run: Run, place: Workplace, plan: EndPlan) -> None:
        self._run = run
        self._place = place
        self._plan = plan
        self._number = run.operation.number

    def carry_out(self) -> str:
        """Do it; return how it ended."""
        plan = self._plan
        try:
            result = self._run.step(Step.SUSPEND, self._mean, self._act)
        except StepFailedError as failure:
            self._place.ledger.tell(plan.job, Event.SAVEPOINT_FAILED, failure.message,
                                    self._number)
            self._place.ledger.end(self._number, OperationState.FAILED, failure.message)
            raise
        deployment = self._place.deployments.of_flink_job(plan.flink_job)
        if deployment is not None:
            self._place.deployments.set_state(deployment.number, DeploymentState.ENDED)
        self._place.deployments.want(plan.job, Desired.STOPPED)
        path, kept = result.get("path"), result.get("kept")
        outcome = (f"{plan.job} is stopped; its state is in {path}." if path
                   else f"{plan.job} is cancelled; its last checkpoint is kept in {kept}." if kept
                   else f"{plan.job} is cancelled; no state of it is known.")
        event = Event.STOPPED if path else Event.CANCELLED
        self._place.ledger.tell(plan.job, event, outcome, self._number)
        self._place.ledger.end(self._number, OperationState.DONE, outcome)
        return outcome

    def _mean(self) -> dict[str, Any]:
        deployment = self._place.deployments.of_flink_job(self._plan.flink_job)
        return {
            "how": self._plan.how.value, "job": self._plan.job,
            "flink_job": self._plan.flink_job, "trigger": uuid.uuid4().hex,
            "folder": self._place.savepoint_folder, "drain": self._plan.drain,
            "origin": (Origin.DRAIN if self._plan.drain else Origin.STOP).value,
            "operation": self._number,
            "deployment": deployment.number if deployment else None,
        }

    def _act(self, meant: Any) -> dict[str, Any]:
        if How(meant["how"]) is not How.NOTHING:
            return suspend(self._place, meant)
        place, job = self._place, str(meant["flink_job"])
        end_job(place, job)
        if place.eyes.state(job) is None:
            return {"path": None}
        last = place.eyes.final_checkpoints(job).newest
        if last is not None:
            # Flink keeps it: the next deploy goes on from there.
            place.savepoints.adopt(self._plan.job, job, last.path, Origin.CHECKPOINT,
                                   meant["deployment"], self._number, last.size)
        return {"path": None, "kept": last.path if last is not None else None}


def end_plan_from_json(content: Any) -> EndPlan:
    """Read a plan that was kept."""
    return EndPlan(content["job"], content["flink_job"], How(content["how"]), content["drain"])
