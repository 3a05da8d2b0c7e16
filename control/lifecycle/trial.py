"""Try a new version beside the old one, from a copy of its state, before anything is changed."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from control.errors import SluiceError, TimedOutError
from control.flink import FlinkAwayError
from control.lanes.findings import OutputFindings
from control.lifecycle.plan import Plan, Trial
from control.lifecycle.run import Content, NotOverError, Run
from control.lifecycle.snapshots import take_savepoint
from control.lifecycle.start import submit
from control.lifecycle.suspend import end_job
from control.lifecycle.watch import await_running, watch_job
from control.lifecycle.words import Origin, Step
from control.lifecycle.workplace import Workplace
from jobs.lane import Into, Lane
from jobs.spec import spec_from_json

# Nearer to the beginning and the end of a trial one of the two may be a little ahead.
_SLACK_SECONDS = 2.0
# What a version has read is committed, and can be compared, after so many checkpoints; one of the
# two may be a little behind the other.
_CHECKPOINTS = 2
_ROUNDS = 3
_PATIENCE_SECONDS = 120.0


class Trying:
    """The trial that comes before a change."""

    def __init__(self, run: Run, place: Workplace, plan: Plan, trial: Trial) -> None:
        self._run = run
        self._place = place
        self._plan = plan
        self._trial = trial
        self._spec = spec_from_json(plan.release.spec)
        self._lane = Lane(f"trial-{run.operation.number}", Into.SHADOW)

    def carry_out(self) -> Content:
        """Do it; a StepFailedError says why the new version is not to be trusted."""
        # The client that is to start it for good would wait all this time.
        self._place.forget(self._plan.flink_job)
        copied = self._run.step(Step.COPY, self._mean_copy, self._copy)
        return self._run.step(Step.TRIAL, lambda: self._mean_run(copied), self._act)

    def clear(self) -> None:
        """End the trial and delete what it wrote."""
        if self._run.knows(Step.COPY):
            self._run.step(Step.CLEAR, lambda: {"flink_job": self._trial.flink_job}, self._clear)

    def _mean_copy(self) -> dict[str, Any]:
        return {"trigger": uuid.uuid4().hex, "flink_job": self._plan.suspend.flink_job}

    def _copy(self, meant: Mapping[str, Any]) -> dict[str, Any]:
        self._run.say("taking a savepoint for the trial")
        taken = take_savepoint(self._place, self._plan.release.job, str(meant["flink_job"]),
                               Origin.TRIAL, str(meant["trigger"]))
        return {"path": taken.path, "at": self._place.clock.now()}

    def _mean_run(self, copied: Mapping[str, Any]) -> dict[str, Any]:
        return {"flink_job": self._trial.flink_job, "seconds": self._trial.seconds,
                "allowed": self._trial.allowed, **copied}

    def _act(self, meant: Mapping[str, Any]) -> dict[str, Any]:
        place, spec, job = self._place, self._spec, str(meant["flink_job"])
        place.lanes.make(spec, self._lane)
        if place.eyes.state(job) is None:
            self._run.say(f"starting version {self._plan.release.version} beside the old one")
            # What has no place was found, and allowed, before.
            submit(place, self._plan.release, job, str(meant["path"]), allow_dropped=True,
                   lane=self._lane)
        await_running(place, job, spec.health, spec.health.max_restarts)
        seconds = float(meant["seconds"])
        # What it refuses is compared with what the old version refuses of the same.
        watch = replace(self._plan.watch, seconds=seconds, max_refused=1.0,
                        give_up_seconds=self._plan.watch.give_up_seconds + seconds)
        watched = watch_job(place, job, spec.health, watch,
                            lambda text: self._run.say(f"trying: {text}"))
        found = self._compared(float(meant["at"]) + _SLACK_SECONDS)
        compared = [one.as_json() for one in found]
        total, differing = _sum(found)
        if differing > float(meant["allowed"]) * max(total, 1):
            said = "; ".join(one.describe() for one in found if one.differing)
            message = f"The new version writes something else than the old one: {said}."
            raise SluiceError(
                message, "If that is meant, allow it: --allow-difference SHARE. Otherwise mend it."
            )
        return {**watched, "total": total, "differing": differing, "compared": compared}

    def _compared(self, first: float) -> Sequence[OutputFindings]:
        """Compare what both have committed, again where one may not have been as far."""
        found: Sequence[OutputFindings] = ()
        end = self._place.clock.now() - _SLACK_SECONDS
        for _ in range(_ROUNDS):
            self._await_checkpoints()
            found = self._place.lanes.compare(
                self._spec, self._lane, round(first * 1e6), round(end * 1e6),
                lambda text: self._run.say(f"comparing: {text}"),
            )
            if _sum(found)[1] == 0:
                break
        return found

    def _await_checkpoints(self) -> None:
        jobs = (str(self._plan.suspend.flink_job), self._trial.flink_job)
        wanted = [(job, self._completed(job) + _CHECKPOINTS) for job in jobs]
        for job, count in wanted:
            # One that completes none tells enough by what it has not committed.
            with suppress(TimedOutError):
                self._place.eyes.wait(
                    "committed", _PATIENCE_SECONDS,
                    partial(self._has_completed, job, count),
                )

    def _has_completed(self, job: str, count: int) -> bool | None:
        return self._completed(job) >= count or None

    def _completed(self, job: str) -> int:
        eyes = self._place.eyes
        return eyes.patiently(lambda: eyes.flink.checkpoints(job)).completed

    def _clear(self, meant: Mapping[str, Any]) -> dict[str, Any]:
        self._run.say("ending the trial")
        self._place.forget(str(meant["flink_job"]))
        try:
            end_job(self._place, str(meant["flink_job"]))
            self._place.lanes.remove(self._spec, self._lane)
        except (FlinkAwayError, NotOverError):
            raise
        except SluiceError as error:
            message = f"What the trial wrote could not be deleted yet: {error.message}"
            raise NotOverError(
                message, f"{error.hint} Then `sluice resume {self._plan.release.job}`.".strip()
            ) from error
        return {}


def _sum(found: Sequence[OutputFindings]) -> tuple[int, int]:
    return sum(one.live for one in found), sum(one.differing for one in found)
