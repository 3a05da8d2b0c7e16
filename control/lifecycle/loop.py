"""The control loop: what is wanted of the jobs is brought about again, a little at a time.

Observe, decide, act, like the commands: a decision is a value, and each act is an operation of its
own under the job's lease, so that a person's command and the loop never work on one job at once.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from control.errors import RefusedError, SluiceError
from control.lifecycle.decide import new_id
from control.lifecycle.deployments import Deployment, Wanted
from control.lifecycle.ledger import EventRow
from control.lifecycle.open import Desk
from control.lifecycle.perform import Held, held
from control.lifecycle.plan import How, Plan, Restore, Suspend
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.snapshots import dispose_savepoint, is_lost, mark_lost, take_savepoint
from control.lifecycle.states import state_of
from control.lifecycle.watch import watch_for
from control.lifecycle.words import Desired, Event, Kind, Origin
from jobs.spec import spec_from_json

_LOG = logging.getLogger(__name__)

# A job that fails for a reason of its own fails again: a person must look.
_MOST_RESTARTS = 3
_RESTARTS_WITHIN = timedelta(hours=1)
# So many deployments back a rollback finds the state that they ended with.
_DEPLOYMENTS_KEPT = 3
# Those that somebody took by hand stay until somebody deletes them.
_PRUNED = frozenset({Origin.PERIODIC, Origin.STOP, Origin.UPGRADE, Origin.ROLLBACK, Origin.SCALE,
                     Origin.TRIAL})


class Need(StrEnum):
    """What a job needs now."""

    NOTHING = "nothing"
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
    events: Sequence[EventRow]
    savepoints: Sequence[Savepoint]
    now: datetime


def decide(look: Look) -> Need:
    """Decide what a job needs first."""
    if look.wanted.desired is not Desired.RUNNING:
        return Need.NOTHING
    if look.has_failed:
        recent = [event for event in look.events
                  if event.event is Event.RESTARTED and look.now - event.at < _RESTARTS_WITHIN]
        if len(recent) < _MOST_RESTARTS:
            return Need.RESTART
        told = [event for event in look.events if event.event is Event.GIVEN_UP
                and event.at > recent[-1].at]
        return Need.NOTHING if told else Need.GIVE_UP
    every = look.wanted.savepoint_every
    if look.state == "RUNNING" and every is not None:
        taken = [one.completed_at for one in look.savepoints if one.completed_at]
        if not taken or look.now - max(taken) >= every:
            return Need.SAVEPOINT
    return Need.NOTHING


def to_prune(
    wanted: Wanted, savepoints: Sequence[Savepoint], deployments: Sequence[Deployment],
    now: datetime,
) -> list[Savepoint]:
    """Choose savepoints that nobody needs: too many, or too old; never the last good one."""
    there = sorted(savepoints, key=lambda one: -one.number)
    spared = {there[0].number} if there else set()
    verified = next((one.number for one in there if one.verified), None)
    if verified is not None:
        spared.add(verified)
    for deployment in deployments[:_DEPLOYMENTS_KEPT]:
        # What it began with, and what it ended with.
        spared |= {one.number for one in there if one.path == deployment.restored_from}
        own = next((one.number for one in there if one.flink_job == deployment.flink_job), None)
        spared |= {own} if own is not None else set()
    found = []
    for place, one in enumerate(there):
        too_many = place >= wanted.keep_count
        too_old = now - one.begun_at > wanted.keep_for
        if one.origin in _PRUNED and one.number not in spared and (too_many or too_old):
            found.append(one)
    return found


def look_after(desk: Desk, say: Callable[[str], None]) -> None:
    """Go once through all jobs."""
    for wanted in desk.place.deployments.wanted():
        try:
            _look_after(desk, wanted, say)
        except RefusedError as error:
            # Somebody operates it just now, or left something unfinished.
            say(f"{wanted.job}: left alone: {error.message}")
        except SluiceError as error:
            say(f"{wanted.job}: {error.message}")


def _look_after(desk: Desk, wanted: Wanted, say: Callable[[str], None]) -> None:
    place = desk.place
    for one in place.savepoints.all(wanted.job, 1000, there_only=True):
        if one.path is not None and is_lost(one.path):
            mark_lost(place, one)
            say(f"{wanted.job}: savepoint {one.number} is lost: its files are gone")
    look = _observe(desk, wanted)
    need = decide(look)
    if need is Need.GIVE_UP:
        place.ledger.tell(wanted.job, Event.GIVEN_UP,
                          f"{_MOST_RESTARTS} restarts within {_RESTARTS_WITHIN}")
        say(f"{wanted.job}: failed again; not started any more. `sluice deploy {wanted.job}`"
            " starts it when it is mended.")
    elif need is not Need.NOTHING:
        with held(desk, wanted.job) as hands:
            # Looked at again: somebody may have worked on it before we held it.
            if decide(_observe(desk, wanted)) is need:
                _act(hands, need, say)
    for one in to_prune(wanted, look.savepoints, place.deployments.all(wanted.job), look.now):
        try:
            dispose_savepoint(place, one)
            say(f"{wanted.job}: savepoint {one.number} is deleted")
        except RefusedError as error:
            _LOG.debug("savepoint %s stays: %s", one.number, error.message)


def _observe(desk: Desk, wanted: Wanted) -> Look:
    place = desk.place
    live = place.eyes.patiently(lambda: place.eyes.flink.live_job(wanted.job))
    last = place.deployments.live(wanted.job)
    failed = False
    if live is None and last is not None:
        # Unknown for a while is as good as failed: the cluster has lost it.
        state = place.eyes.state(last.flink_job)
        failed = state == "FAILED" or (
            state is None and place.eyes.wait_until_over(last.flink_job, 60) is None
        )
    return Look(
        wanted, live.state if live else None, failed, place.ledger.events(wanted.job),
        place.savepoints.all(wanted.job, 1000, there_only=True), datetime.now(UTC),
    )


def _act(hands: Held, need: Need, say: Callable[[str], None]) -> None:
    place, job = hands.place, hands.job
    if need is Need.SAVEPOINT:
        live = place.eyes.flink.live_job(job)
        if live is not None:
            taken = take_savepoint(place, job, live.id, Origin.PERIODIC)
            say(f"{job}: savepoint {taken.number}")
        return
    last = place.deployments.live(job)
    if last is None:
        return
    path = state_of(place, last) or last.restored_from
    if path is None:
        place.ledger.tell(job, Event.GIVEN_UP, "no state of it is known")
        say(f"{job}: failed, and no state of it is known: `sluice deploy {job} --fresh`.")
        return
    place.ledger.tell(job, Event.RESTARTED, f"from {path}")
    release = last.release
    watch = replace(watch_for(spec_from_json(release.spec), 1.0), checkpoints=1, seconds=0.0)
    plan = Plan(Kind.RESTART, release, new_id(), Suspend(How.NOTHING), Restore(path=path), watch,
                None, "the control loop")
    say(hands.begin(plan, Kind.RESTART, "it had failed", say))
