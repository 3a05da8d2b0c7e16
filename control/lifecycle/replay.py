"""Run a job's code over a span of history, beside the live job: started, watched, compared.

The job in Flink needs nobody: a command that was killed or interrupted leaves it running, and to
resume is to watch it again. Of one that failed the next one goes on from its last checkpoint, under
the next id of a series; each is written down before it is submitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

from control.errors import SluiceError
from control.flink import FlinkAwayError
from control.flink_answers import ENDED
from control.lifecycle.back import own_newest
from control.lifecycle.deployments import Deployment
from control.lifecycle.progress import Positions, Progress, how_far, positions
from control.lifecycle.replay_plan import ReplayPlan, replay_job
from control.lifecycle.run import NotOverError, Run, Say, StepFailedError
from control.lifecycle.start import submit
from control.lifecycle.states import kept_checkpoint
from control.lifecycle.stuck import Stuck
from control.lifecycle.suspend import attempt_of, end_job
from control.lifecycle.watch import UNKNOWN_SECONDS
from control.lifecycle.words import DeploymentState, Event, OperationState, Step
from control.lifecycle.workplace import Workplace
from jobs.lane import Into, Lane

_PAUSE_SECONDS = 1.0
_FINISHED = "FINISHED"


@dataclass(frozen=True)
class Closing:
    """How the comparison at the end came out."""

    equal: bool
    # What was proven and what was not, or what differs.
    words: str


class Outlets(Protocol):
    """What a replay writes to, and how that is compared."""

    def make(self, lane: Lane) -> None:
        """Make what a shadow writes to. Harmless when repeated."""

    def remove(self, lane: Lane) -> None:
        """Delete what a shadow wrote, and end what the lane left open. Harmless when repeated."""

    def has_read(self, lane: Lane, positions: Positions) -> bool:
        """Tell whether the lane's job has read all that was planned; it tells some positions."""

    def forget(self, lane: Lane) -> None:
        """Delete what is of no use once the lane's job is over."""

    def compare(self, lane: Lane, begun: float, say: Say) -> Closing:
        """Compare what came out since the replay began with what should have."""


class Replaying:
    """One replay: carried out, or resumed where a command left it."""

    def __init__(self, run: Run, place: Workplace, plan: ReplayPlan, outlets: Outlets) -> None:
        self._run = run
        self._place = place
        self._plan = plan
        self._outlets = outlets
        self._number = run.operation.number
        self._job = replay_job(plan.job)
        self._lane = plan.lane(self._number)

    def carry_out(self, *, again: bool = False, restart: bool = False) -> str:
        """Do it; return how it ended.

        `again`: go on with a job that has failed; `restart`: with one that Flink has forgotten,
        too, whatever it did.
        """
        try:
            self._run.step(Step.START, lambda: {"flink_job": self._plan.flink_job}, self._start)
        except StepFailedError as failure:
            self._give_up(failure.message)
            raise
        ran = self._run.step(Step.RUN, dict, lambda _: self._follow(again=again, restart=restart))
        begun = self._run.operation.begun_at.timestamp()
        result = self._run.step(
            Step.RECONCILE, lambda: {"since": begun},
            lambda meant: self._compare(float(meant["since"])),
        )
        self._outlets.forget(self._lane)
        outcome = (f"Replay {self._number} of {self._plan.job} into {self._plan.into} is over:"
                   f" about {self._plan.messages:,} messages in {ran['seconds']:.0f} s."
                   f" {result['words']}")
        good = bool(result["equal"])
        self._tell(Event.COMPARED, str(result["words"]))
        self._end(OperationState.DONE if good else OperationState.FAILED, outcome)
        if not good:
            raise SluiceError(outcome, self._way_on())
        return outcome

    def cancel(self) -> str:
        """End the job in Flink and the operation; what a shadow wrote is deleted."""
        for attempt in self._attempts():
            end_job(self._place, attempt.flink_job)
            self._place.deployments.set_state(attempt.number, DeploymentState.ENDED)
        self._outlets.remove(self._lane)
        left = ("What it wrote beside the live job is deleted." if self._lane.into is Into.SHADOW
                else "What it wrote stays.")
        outcome = f"Replay {self._number} of {self._plan.job} is cancelled. {left}"
        self._tell(Event.CANCELLED, outcome)
        self._end(OperationState.UNDONE, outcome)
        return outcome

    def _start(self, meant: Mapping[str, Any]) -> dict[str, Any]:
        self._run.say("making what the replay writes to")
        self._outlets.make(self._lane)
        if not self._attempts():
            self._write_down(str(meant["flink_job"]), None)
        newest = self._attempts()[0]
        if newest.state is DeploymentState.STARTING:
            self._submit(newest)
        return {"flink_job": newest.flink_job, "lane": self._lane.name}

    def _write_down(self, job: str, path: str | None) -> None:
        # Under the replay's own name: it is no deployment that the live job could go back to.
        release = replace(self._plan.release, job=self._job)
        self._place.deployments.add(release, self._number, job, path)

    def _submit(self, attempt: Deployment) -> None:
        """Give Flink a job that is written down, unless it has it.

        From just before that it counts as live: whoever comes after a kill cannot tell whether
        Flink took it, and one that it does not know may have read all, and ended, and be forgotten.
        """
        job, path = attempt.flink_job, attempt.restored_from
        known = self._place.eyes.state(job) is not None
        if not known:
            self._run.say(f"starting version {self._plan.release.version} beside"
                          f" {self._plan.job} as {self._lane.own(self._plan.job)}")
            # It takes seconds, in which nothing is submitted yet.
            self._place.prepare(self._plan.release, job, self._lane).graph()
        self._place.deployments.set_state(attempt.number, DeploymentState.LIVE)
        if not known:
            self._hand_over(attempt)
        self._tell(Event.STARTED, f"job {job}, from {path or 'the beginning'}")

    def _hand_over(self, attempt: Deployment) -> None:
        try:
            submit(self._place, self._plan.release, attempt.flink_job, attempt.restored_from,
                   allow_dropped=False, lane=self._lane)
        except FlinkAwayError:
            raise
        except SluiceError:
            # Flink was asked: it has not taken it.
            self._place.deployments.set_state(attempt.number, DeploymentState.STARTING)
            raise

    def _follow(self, *, again: bool, restart: bool) -> dict[str, Any]:
        """Wait until the newest job has read its span to the end."""
        if again:
            self._revive(restart=restart)
        job = self._attempts()[0].flink_job
        progress = Progress(self._plan.messages, self._place.clock)
        stuck = Stuck(self._place, job, self._run.say)
        health = self._plan.spec.health
        seen = self._place.clock.now()
        while True:
            sight = self._place.eyes.sight(job, health)
            now = self._place.clock.now()
            if sight.state == _FINISHED:
                break
            if sight.state in ENDED:
                self._stop_following(job, f"its job {job} {sight.state.lower()}")
            if sight.state is not None:
                seen = now
            elif now - seen > UNKNOWN_SECONDS:
                self._stop_following(job, f"Flink does not know its job {job} any more")
            found = self._place.eyes.patiently(
                lambda: positions(self._place.eyes.flink, job, self._plan.spans))
            read = how_far(found, self._plan.spans)
            if stuck.is_quiet(sight, read) and self._outlets.has_read(self._lane, found):
                stuck.drain()
            trouble = (f"; restarted {sight.restarts} times: {sight.exception}"
                       if sight.restarts and sight.exception else "")
            self._run.say(f"replaying: {progress.words(read)}{trouble}")
            self._place.clock.sleep(_PAUSE_SECONDS)
        self._tell(Event.FINISHED, f"job {job}")
        self._place.deployments.set_state(self._attempts()[0].number, DeploymentState.ENDED)
        return {"flink_job": job, "attempts": len(self._attempts()),
                "seconds": round(now - self._run.operation.begun_at.timestamp(), 1)}

    def _stop_following(self, job: str, what: str) -> NoReturn:
        why = self._place.eyes.exception(job)
        self._place.deployments.set_state(self._attempts()[0].number, DeploymentState.FAILED)
        message = (f"Replay {self._number} of {self._plan.job} is not over: {what}"
                   + (f": {why}" if why else "") + ".")
        held_up = (" Until then readers of committed messages may wait for what it left open."
                   if self._lane.into is Into.LIVE else "")
        raise NotOverError(
            message, f"Mend the cause; `sluice replay resume {self._number}` goes on from its last"
                     f" checkpoint, `sluice replay cancel {self._number}` gives it up.{held_up}",
        )

    def _revive(self, *, restart: bool) -> None:
        """Start the next job where the newest one does not live, from the state that it left."""
        attempts = self._attempts()
        newest = attempts[0]
        job = newest.flink_job
        if newest.state is DeploymentState.STARTING:
            self._submit_or_stay_open(newest)
            return
        # One that is unknown may only not have been found again yet.
        state = self._place.eyes.state(job) or self._place.eyes.wait_until_over(
            job, UNKNOWN_SECONDS)
        if state == _FINISHED or state not in {None, *ENDED}:
            return
        path = self._kept(job, known=state is not None)
        if path is None and state is None and not restart:
            message = (f"Flink does not know job {job} of replay {self._number}, and no checkpoint"
                       " of it is left: it has probably finished, unless the command was killed"
                       " while it submitted it.")
            raise NotOverError(
                message, f"`sluice reconcile` or `sluice replay compare {self._number}` tells."
                         f" `sluice replay resume {self._number} --restart` reads all of it again,"
                         f" `sluice replay cancel {self._number}` gives it up.",
            )
        path = path or newest.restored_from
        self._run.say(f"going on from {path}" if path else
                      "there is no checkpoint to go on from: beginning again")
        self._write_down(attempt_of(self._plan.flink_job, len(attempts)), path)
        self._submit_or_stay_open(self._attempts()[0])

    def _submit_or_stay_open(self, attempt: Deployment) -> None:
        try:
            self._submit(attempt)
        except FlinkAwayError:
            raise
        except SluiceError as error:
            hint = (f"{error.hint} `sluice replay resume {self._number}` tries again,"
                    f" `sluice replay cancel {self._number}` gives it up.")
            raise NotOverError(error.message, hint.strip()) from error

    def _kept(self, job: str, *, known: bool) -> str | None:
        """Return the last checkpoint that a job left."""
        if known:
            last = own_newest(self._place.eyes.final_checkpoints(job), job)
            if last is not None:
                return last.path
        return kept_checkpoint(self._place.checkpoint_folder, job)

    def _compare(self, begun: float) -> dict[str, Any]:
        try:
            found = self._outlets.compare(self._lane, begun, self._run.say)
        except SluiceError as error:
            # A server that is away says nothing about what the replay did.
            message = f"Replay {self._number} has read all, and was not compared: {error.message}"
            raise NotOverError(
                message, f"{error.hint} `sluice replay resume {self._number}` compares again."
            ) from error
        return {"equal": found.equal, "words": found.words}

    def _attempts(self) -> list[Deployment]:
        """Return the jobs that were started for this replay, the newest first."""
        return [one for one in self._place.deployments.all(self._job, 1000)
                if one.operation == self._number]

    def _give_up(self, why: str) -> None:
        for attempt in self._attempts():
            self._place.deployments.set_state(attempt.number, DeploymentState.FAILED)
        self._outlets.remove(self._lane)
        outcome = f"Replay {self._number} of {self._plan.job} did not start: {why}"
        self._tell(Event.UNHEALTHY, outcome)
        self._end(OperationState.FAILED, outcome)

    def _way_on(self) -> str:
        if self._lane.into is Into.SHADOW:
            return (f"`sluice replay compare {self._number}` shows it; `sluice replay drop"
                    f" {self._number}` deletes what it wrote.")
        return "`sluice reconcile` shows the events, and with --repair writes them again."

    def _tell(self, event: Event, detail: str) -> None:
        self._place.ledger.tell(self._job, event, detail, self._number)

    def _end(self, state: OperationState, outcome: str) -> None:
        self._place.ledger.end(self._number, state, outcome)
