"""Change the parallelism of a running job in place, where Flink's scheduler can."""

from dataclasses import asdict, dataclass
from typing import Any

from control.errors import SluiceError
from control.flink_answers import Requirement
from control.lifecycle.preflight import Check, Verdict
from control.lifecycle.run import Run, StepFailedError
from control.lifecycle.watch import await_running
from control.lifecycle.words import Event, OperationState, Step
from control.lifecycle.workplace import Workplace
from jobs.spec import spec_from_json

_SECONDS = 180
# Each change of the parallelism counts as a restart.
_MOST_RESTARTS = 1_000_000


@dataclass(frozen=True)
class ScalePlan:
    """Another parallelism for a job that goes on running."""

    job: str
    flink_job: str
    parallelism: int
    deployment: int
    in_place: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return the plan as it is kept."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say what will be done, for a person."""
        return [
            f"give job {self.flink_job} {self.parallelism} tasks in place: Flink restarts it from"
            " its last checkpoint, as the same deployment",
            f"if it does not run so within {_SECONDS} s: ask Flink for what it had before",
        ]


def can_rescale(place: Workplace, flink_job: str) -> bool:
    """Tell whether this job's parallelism can be changed while it runs."""
    try:
        return bool(place.eyes.flink.requirements(flink_job))
    except SluiceError:
        # Flink's default scheduler refuses the question.
        return False


def check_rescale(place: Workplace, plan: ScalePlan) -> list[Check]:
    """Check what Flink would need to scale a job in place."""
    flink = place.eyes.flink
    cluster, now = flink.cluster(), flink.job(plan.flink_job)
    vertices = flink.details(plan.flink_job).get("vertices", [])
    there = cluster.free_slots + max((int(one["parallelism"]) for one in vertices), default=0)
    narrow = [f"{one['name']} {one['maxParallelism']}" for one in vertices
              if 0 < int(one["maxParallelism"]) < plan.parallelism]
    state = now.state if now is not None else "UNKNOWN"
    runs = now is not None and state == "RUNNING" and now.all_run
    return [
        _check("running job", runs, f"{state.lower()}, {'' if runs else 'not '}all of it runs",
               "Only a job that runs can be scaled in place: `sluice status` tells why it does"
               " not."),
        _check("slots", plan.parallelism <= there, f"{plan.parallelism} needed, {there} there",
               "Add TaskManagers, or use a lower parallelism."),
        _check("maximum parallelism", not narrow,
               f"less than {plan.parallelism}: {', '.join(narrow)}" if narrow
               else f"{plan.parallelism} or more", "Use a lower parallelism."),
    ]


def _check(name: str, good: bool, found: str, way_out: str) -> Check:
    return Check(name, Verdict.GOOD if good else Verdict.BAD, found, "" if good else way_out)


class Rescaling:
    """A change of parallelism: carried out, or resumed."""

    def __init__(self, run: Run, place: Workplace, plan: ScalePlan) -> None:
        self._run = run
        self._place = place
        self._plan = plan

    def carry_out(self) -> str:
        """Do it; return how it ended."""
        plan, number = self._plan, self._run.operation.number
        try:
            self._run.step(Step.RESCALE, self._mean, self._act)
        except StepFailedError as failure:
            self._place.ledger.end(number, OperationState.FAILED, failure.message)
            raise
        self._place.deployments.set_parallelism(plan.deployment, plan.parallelism)
        outcome = f"{plan.job} runs with {plan.parallelism} tasks, scaled in place."
        self._place.ledger.tell(plan.job, Event.RESCALED, outcome, number)
        self._place.ledger.end(number, OperationState.DONE, outcome)
        return outcome

    def _mean(self) -> dict[str, Any]:
        before = self._place.eyes.patiently(
            lambda: self._place.eyes.flink.requirements(self._plan.flink_job)
        )
        return {
            "before": {vertex: [need.lowest, need.highest] for vertex, need in before.items()},
            "after": {vertex: [1, self._plan.parallelism] for vertex in before},
        }

    def _act(self, meant: Any) -> dict[str, Any]:
        job, flink = self._plan.flink_job, self._place.eyes.flink
        deployment = self._place.deployments.get(self._plan.deployment)
        health = spec_from_json(deployment.release.spec if deployment else {}).health
        self._place.eyes.patiently(lambda: flink.require(job, _needs(meant["after"])))
        try:
            self._place.eyes.wait(
                f"running with {self._plan.parallelism} tasks", _SECONDS, self._is_scaled
            )
            # To scale is to restart from a checkpoint, as Flink does it.
            await_running(self._place, job, health, _MOST_RESTARTS)
        except SluiceError:
            self._place.eyes.patiently(lambda: flink.require(job, _needs(meant["before"])))
            raise
        return {"parallelism": self._plan.parallelism}

    def _is_scaled(self) -> bool | None:
        details = self._place.eyes.flink.details(self._plan.flink_job)
        widths = {int(vertex["parallelism"]) for vertex in details.get("vertices", [])}
        return True if self._plan.parallelism in widths and max(
            widths) == self._plan.parallelism else None


def _needs(content: Any) -> dict[str, Requirement]:
    return {vertex: Requirement(low, high) for vertex, (low, high) in content.items()}


def scale_plan_from_json(content: Any) -> ScalePlan:
    """Read a plan that was kept."""
    return ScalePlan(**content)
