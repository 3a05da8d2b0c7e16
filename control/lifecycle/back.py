"""Take a change back: the version before goes on, from the state that loses nothing."""

import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from control.errors import SluiceError
from control.flink import FlinkUnknownError
from control.flink_answers import ENDED, Checkpoint, Checkpoints
from control.lifecycle.deployments import Deployment, Release
from control.lifecycle.fit import fits, misses
from control.lifecycle.plan import Plan, Watch
from control.lifecycle.run import Run
from control.lifecycle.start import start
from control.lifecycle.states import checkpoint_at, kept_checkpoint
from control.lifecycle.suspend import end_job
from control.lifecycle.watch import watch_job
from control.lifecycle.words import DeploymentState, Origin, Step
from control.lifecycle.workplace import Workplace
from control.savepoint_metadata import local_path
from jobs.spec import spec_from_json

# What ran before is not judged again: it shall run.
_SETTLED = Watch(1, 0, 180, sys.maxsize, sys.maxsize, 1.0)


class TakenBackError(SluiceError):
    """The new version was not well; what ran before runs again."""


@dataclass(frozen=True)
class Return:
    """The state that the version before goes on from, and why."""

    path: str | None
    why: str


def choose_return(
    kept: str | None, newest: str | None, *, refuses: bool, may_go_on: bool
) -> Return:
    """Choose between the state that was kept and the last checkpoint of the new version.

    What the new version did until that checkpoint is committed: to go on from there neither loses
    nor doubles anything. But what it refused wrongly, or wrote in another form, is done again.
    """
    if newest is None:
        return Return(kept, "the new version had completed no checkpoint")
    if refuses:
        return Return(kept, "what the new version refused is judged again")
    if not may_go_on:
        return Return(kept, "the version before cannot go on from the state of the new one; what"
                            " that did is done again")
    return Return(newest, "the last checkpoint of the new version: what it did stands")


class WayBack:
    """The steps that undo a change."""

    def __init__(self, run: Run, place: Workplace, plan: Plan) -> None:
        self._run = run
        self._place = place
        self._plan = plan
        self._job = plan.release.job
        self.old = place.deployments.get(plan.undo) if plan.undo else None

    def halt(
        self, kept: str | None, reason: str, refuses: Callable[[], bool]
    ) -> Mapping[str, Any]:
        """End the new version; return the state to go on from."""
        return self._run.step(Step.HALT, lambda: self._mean(kept, reason, refuses()), self._halt)

    def start_again(self, old: Deployment, halted: Mapping[str, Any]) -> int:
        """Start what ran before; return the deployment that it is now."""
        started = self._run.step(
            Step.RETURN,
            lambda: {"flink_job": halted["return_as"], "path": halted["path"],
                     "operation": self._run.operation.number},
            lambda meant: start(self._place, old.release, meant, max_restarts=sys.maxsize),
        )
        self._run.step(Step.SETTLE, lambda: dict(started),
                       lambda meant: self._settle(old.release, meant))
        return int(started["deployment"])

    def _mean(self, kept: str | None, reason: str, refuses: bool) -> dict[str, Any]:
        seen = self._checkpoints()
        return {
            "flink_job": self._plan.flink_job, "path": kept, "reason": reason,
            "return_as": uuid.uuid4().hex, "may_go_on": self._may_go_on(),
            # Once it has ended nobody can tell any more.
            "refuses": refuses,
            "seen": asdict(seen) if seen is not None else None,
        }

    def _may_go_on(self) -> bool:
        """Tell whether what comes next can read what the new version kept."""
        if self.old is None:
            # It is the new version itself that somebody will start again.
            return True
        new, old = spec_from_json(self._plan.release.spec), spec_from_json(self.old.release.spec)
        return (self._plan.restore.suspended and fits(new, old) is None
                and misses(new, old) is None)

    def _halt(self, meant: Mapping[str, Any]) -> dict[str, Any]:
        place, job = self._place, str(meant["flink_job"])
        if self.old is not None:
            # Built while the other one ends.
            place.prepare(self.old.release, str(meant["return_as"]))
        end_job(place, job)
        deployment = place.deployments.of_flink_job(job)
        if deployment is not None:
            place.deployments.set_state(deployment.number, DeploymentState.FAILED)
        newest = self._newest(meant)
        if newest is None and self._run.has_done(Step.START) and not self._could_tell():
            message = (f"Flink has forgotten job {job}, and whether it completed a checkpoint"
                       " cannot be seen from here. From an older state things may be done twice.")
            raise SluiceError(
                message, f"Look into {place.checkpoint_folder or 'the folder of checkpoints'}; then"
                         f" `sluice deploy {self._job} --from PATH`: its newest checkpoint, or"
                         f" {meant['path']} where it has none.",
            )
        choice = choose_return(
            str(meant["path"]) if meant["path"] else None, newest.path if newest else None,
            refuses=bool(meant["refuses"]), may_go_on=bool(meant["may_go_on"]),
        )
        if newest is not None and choice.path == newest.path:
            place.savepoints.adopt(self._job, job, newest.path, Origin.CHECKPOINT,
                                   deployment.number if deployment else None,
                                   self._run.operation.number, newest.size or None)
        return {"path": choice.path, "why": choice.why, "return_as": meant["return_as"]}

    def _newest(self, meant: Mapping[str, Any]) -> Checkpoint | None:
        """Return the last checkpoint of the new version, whoever still knows of it.

        A JobManager that was started anew meanwhile has forgotten a job that is over, and of one
        that it recovered the checkpoints before.
        """
        job = str(meant["flink_job"])
        known = [self._checkpoints(final=True)]
        if meant.get("seen"):
            known.append(Checkpoint(**meant["seen"]))
        kept = kept_checkpoint(self._place.checkpoint_folder, job)
        if kept is not None:
            known.append(checkpoint_at(kept))
        return max((one for one in known if one is not None), key=lambda one: one.number,
                   default=None)

    def _checkpoints(self, *, final: bool = False) -> Checkpoint | None:
        eyes, job = self._place.eyes, self._plan.flink_job
        state = eyes.state(job)
        if state is None:
            return None
        try:
            if final and state in ENDED:
                return own_newest(eyes.final_checkpoints(job), job)
            return own_newest(eyes.patiently(lambda: eyes.flink.checkpoints(job)), job)
        except FlinkUnknownError:
            return None

    def _could_tell(self) -> bool:
        """Tell whether a checkpoint of the new version would have been seen."""
        folder = local_path(self._place.checkpoint_folder or "")
        known = self._place.eyes.state(self._plan.flink_job) is not None
        return known or (folder is not None and folder.is_dir())

    def _settle(self, release: Release, meant: Mapping[str, Any]) -> dict[str, Any]:
        """Wait until the version before runs and has kept its state once."""
        health = spec_from_json(release.spec).health
        settled = watch_job(self._place, str(meant["flink_job"]), health, _SETTLED,
                            lambda text: self._run.say(f"settling: {text}"))
        # Somebody who lost the job to us may have submitted it in the very moment before.
        if self._place.eyes.state(self._plan.flink_job) not in {None, *ENDED}:
            end_job(self._place, self._plan.flink_job)
        return settled


def own_newest(found: Checkpoints, job: str) -> Checkpoint | None:
    """Return the newest checkpoint that a job completed itself."""
    if found.last is not None:
        return found.last
    if found.restored_path is not None and f"/{job}/" in found.restored_path:
        # Its JobManager was started anew, and it has not got as far as another one.
        return checkpoint_at(found.restored_path)
    return None
