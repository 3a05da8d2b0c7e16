"""The control loop: what is wanted of the jobs is brought about again, a little at a time.

Observe, decide, act, like the commands: a decision is a value, and each act is done under the job's
lease, so that a person's command and the loop never work on one job at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from control.errors import RefusedError, SluiceError
from control.lifecycle.decide import new_id
from control.lifecycle.deployments import Wanted
from control.lifecycle.keeping import to_prune
from control.lifecycle.ledger import Operation
from control.lifecycle.open import Desk
from control.lifecycle.perform import Held, held
from control.lifecycle.plan import How, Plan, Restore, Suspend
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.snapshots import dispose_savepoint, is_lost, mark_lost, take_savepoint
from control.lifecycle.states import last_state
from control.lifecycle.watch import watch_for
from control.lifecycle.words import Desired, Event, Kind, Origin, SavepointState
from jobs.spec import spec_from_json

Say = Callable[[str], None]

# A job that fails for a reason of its own fails again: a person must look.
_MOST_RESTARTS = 3
_RESTARTS_WITHIN = timedelta(hours=1)
# After a savepoint that failed, doubled with each further one, up to the pause of the schedule.
_FIRST_PAUSE = timedelta(seconds=30)
_MOST_DOUBLINGS = 20
_MOST = 1000


class Need(StrEnum):
    """What a job needs now."""

    NOTHING = "nothing"
    # A restart of this loop's own, or of one before it, that was cut off.
    FINISH = "finish"
    RESTART = "restart"
    GIVE_UP = "give up"
    SAVEPOINT = "savepoint"


@dataclass(frozen=True)
class Look:
    """What the loop sees of one job."""

    wanted: Wanted
    # Of the job in Flink; None when there is none.
    state: str | None
    # Whether its last job has ended without anybody having wanted that.
    has_failed: bool
    unfinished: Operation | None
    # The last ones, however they ended.
    restarts: Sequence[Operation]
    # When the loop last said that it starts the job no more.
    given_up_at: datetime | None
    # Those that are there.
    savepoints: Sequence[Savepoint]
    # Periodic ones that failed since the newest of those.
    failures: Sequence[Savepoint]
    now: datetime


def decide(look: Look) -> Need:
    """Decide what a job needs first."""
    if look.unfinished is not None and look.unfinished.kind is Kind.RESTART:
        return Need.FINISH
    if look.wanted.desired is not Desired.RUNNING:
        return Need.NOTHING
    if look.has_failed:
        recent = [one.begun_at for one in look.restarts
                  if look.now - one.begun_at < _RESTARTS_WITHIN]
        if len(recent) < _MOST_RESTARTS:
            return Need.RESTART
        return Need.NOTHING if _has_given_up(look, max(recent)) else Need.GIVE_UP
    every = look.wanted.savepoint_every
    if look.state == "RUNNING" and every is not None and _is_due(look, every):
        return Need.SAVEPOINT
    return Need.NOTHING


def _is_due(look: Look, every: timedelta) -> bool:
    taken = [one.completed_at for one in look.savepoints if one.completed_at]
    if taken and look.now - max(taken) < every:
        return False
    if not look.failures:
        return True
    doublings = min(len(look.failures) - 1, _MOST_DOUBLINGS)
    pause = min(_FIRST_PAUSE * (1 << doublings), every)
    return look.now - max(one.begun_at for one in look.failures) >= pause


def _has_given_up(look: Look, since: datetime) -> bool:
    return look.given_up_at is not None and look.given_up_at > since


def look_after(desk: Desk, say: Say) -> None:
    """Go once through all jobs."""
    for wanted in desk.place.deployments.wanted():
        # What one of them cannot do is no reason to leave out the next: a full disk, for instance.
        for task in (_mark_lost, _tend, _prune):
            try:
                task(desk, wanted.job, say)
            except RefusedError as error:
                # Somebody operates it just now, or left something unfinished.
                say(f"{wanted.job}: left alone: {error.message}")
            except SluiceError as error:
                say(f"{wanted.job}: {error.message}")


def _mark_lost(desk: Desk, job: str, say: Say) -> None:
    place = desk.place
    for one in place.savepoints.all(job, _MOST, there_only=True):
        if is_lost(one):
            mark_lost(place, one)
            say(f"{job}: savepoint {one.number} is lost: its files are gone")


def _tend(desk: Desk, job: str, say: Say) -> None:
    need = decide(_observe(desk, job))
    if need is Need.NOTHING:
        return
    with held(desk, job, unfinished=need is Need.FINISH) as hands:
        # Looked at again: somebody may have worked on it before we held it.
        look = _observe(desk, job)
        if decide(look) is need:
            _act(hands, look, need, say)


def _prune(desk: Desk, job: str, say: Say) -> None:
    if not _to_prune(desk, job):
        return
    # Nobody may be about to start from one of them.
    with held(desk, job):
        for one in _to_prune(desk, job):
            try:
                state = dispose_savepoint(desk.place, one, reason="as scheduled")
                say(f"{job}: savepoint {one.number} is {state}")
            except SluiceError as error:
                say(f"{job}: {error.message}")


def _to_prune(desk: Desk, job: str) -> list[Savepoint]:
    place = desk.place
    [wanted] = place.deployments.wanted(job)
    return to_prune(
        wanted, place.savepoints.all(job, _MOST, there_only=True),
        place.deployments.all(job), _now(desk),
    )


def _observe(desk: Desk, job: str) -> Look:
    place = desk.place
    [wanted] = place.deployments.wanted(job)
    live = place.eyes.patiently(lambda: place.eyes.flink.live_job(job))
    last = place.deployments.live(job)
    failed = False
    if live is None and last is not None:
        # Unknown for a while is as good as failed: the cluster has lost it.
        state = place.eyes.state(last.flink_job)
        failed = state == "FAILED" or (
            state is None and place.eyes.wait_until_over(last.flink_job, 60) is None
        )
    there = place.savepoints.all(job, _MOST, there_only=True)
    newest = there[0].number if there else 0
    # An operation that failed says the same of itself.
    given_up = [event.at for event in place.ledger.events(job, event=Event.GIVEN_UP)
                if event.operation is None]
    return Look(
        wanted, live.state if live else None, failed, place.ledger.unfinished(job),
        place.ledger.history(job, _MOST_RESTARTS, Kind.RESTART), max(given_up, default=None),
        there, [one for one in place.savepoints.all(job) if one.number > newest
                and one.state is SavepointState.FAILED and one.origin is Origin.PERIODIC],
        _now(desk),
    )


def _now(desk: Desk) -> datetime:
    return datetime.fromtimestamp(desk.place.clock.now(), UTC)


def _act(hands: Held, look: Look, need: Need, say: Say) -> None:
    place, job = hands.place, hands.job
    if need is Need.FINISH and look.unfinished is not None:
        say(hands.resume(look.unfinished, say, undo=False))
    elif need is Need.RESTART:
        _restart(hands, look, say)
    elif need is Need.GIVE_UP:
        place.ledger.tell(job, Event.GIVEN_UP, f"{_MOST_RESTARTS} restarts within"
                                               f" {_RESTARTS_WITHIN}")
        say(f"{job}: failed again; not started any more. `sluice deploy {job}` starts it when it"
            " is mended.")
    elif need is Need.SAVEPOINT:
        live = place.eyes.flink.live_job(job)
        if live is not None:
            taken = take_savepoint(place, job, live.id, Origin.PERIODIC)
            say(f"{job}: savepoint {taken.number}")


def _restart(hands: Held, look: Look, say: Say) -> None:
    place, job = hands.place, hands.job
    last, found = place.deployments.live(job), last_state(place, job)
    if last is None or not found.ran:
        return
    path, why = found.path, found.why
    if path is None:
        newest = place.deployments.get(found.deployment or last.number) or last
        # Asked again each time, and told once.
        if not _has_given_up(look, newest.begun_at):
            place.ledger.tell(job, Event.GIVEN_UP, why)
        say(f"{job}: failed, and not started: {why}. `sluice deploy {job} --from PATH` goes on from"
            " a state that you know.")
        return
    place.ledger.tell(job, Event.RESTARTED, f"from {path}")
    release = last.release
    watch = replace(watch_for(spec_from_json(release.spec), 1.0), checkpoints=1, seconds=0.0)
    plan = Plan(Kind.RESTART, release, new_id(), Suspend(How.NOTHING), Restore(path=path), watch,
                None, "the control loop")
    say(hands.begin(plan, Kind.RESTART, "it had failed", say))
