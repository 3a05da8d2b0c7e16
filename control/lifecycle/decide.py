"""Decide what to do: from what was observed to a plan, touching nothing."""

import uuid
from dataclasses import dataclass, replace

from control.errors import RefusedError
from control.flink_answers import FlinkJob
from control.lifecycle.deployments import Deployment, Release
from control.lifecycle.fit import fits, misses
from control.lifecycle.given_up import given_up
from control.lifecycle.plan import How, Plan, Restore, Suspend, Trial, Watch
from control.lifecycle.states import last_state, state_of
from control.lifecycle.watch import watch_for
from control.lifecycle.words import DeploymentState, Kind, Origin
from control.lifecycle.workplace import Workplace
from jobs.spec import spec_from_json


@dataclass(frozen=True)
class Wish:
    """What the person asked for beyond the command itself."""

    how: How = How.SAVEPOINT
    # A savepoint's number or address.
    start_from: str | None = None
    fresh: bool = False
    allow_dropped: bool = False
    allow_unknown: bool = False
    watch_seconds: float | None = None
    give_up_seconds: float | None = None
    max_age_seconds: float | None = None
    # The share that may be refused, instead of what the job's spec says.
    max_refused: float | None = None
    # Try the new version beside the old one first, for so long; so much may differ.
    trial_seconds: float | None = None
    allow_difference: float = 0.0


def new_id() -> str:
    """Return an id for a job in Flink."""
    return uuid.uuid4().hex


def refuse_running(job: str, live: FlinkJob | None) -> None:
    """Refuse to start a job that is there already."""
    if live is not None:
        message = f"{job} is there already: job {live.id}, {live.state.lower()}."
        raise RefusedError(
            message, f"Nothing was started. `sluice upgrade {job}` puts this version in its place."
        )


def decide_deploy(
    place: Workplace, release: Release, live: FlinkJob | None, wish: Wish
) -> Plan:
    """Decide how to start a job that does not run."""
    refuse_running(release.job, live)
    path = _address(place, release.job, wish.start_from)
    note = ""
    last = last_state(place, release.job)
    if wish.fresh:
        note = given_up(place, release.job)
    elif path is None:
        if last.ran and last.path is None:
            message = f"{release.job} ran before as deployment {last.deployment}: {last.why}."
            raise RefusedError(
                message, "Say where it is: --from PATH. Or begin without state: --fresh."
            )
        path = last.path
        _refuse_drained(place, release.job, path)
    return Plan(
        Kind.DEPLOY, release, new_id(), Suspend(How.NOTHING), _restore(wish, path),
        _watch(release, 0.0, wish, short=True), None, note,
    )


def _refuse_drained(place: Workplace, job: str, path: str | None) -> None:
    known = place.savepoints.at(path) if path is not None else None
    if known is not None and known.origin is Origin.DRAIN:
        message = f"{job} was drained: what waited for more events was closed and sent."
        raise RefusedError(
            message, f"To go on from there all the same: --from {known.number}. To begin without"
                     " state: --fresh.",
        )


def decide_change(
    place: Workplace, kind: Kind, release: Release, live: FlinkJob | None,
    refused_before: float, wish: Wish,
) -> Plan:
    """Decide how to put a release in the place of what runs."""
    if live is None:
        message = f"{release.job} does not run: there is nothing to put it in the place of."
        raise RefusedError(message, f"`sluice deploy {release.job}` starts it.")
    before = place.deployments.of_flink_job(live.id)
    policy = spec_from_json(release.spec).upgrade
    age = wish.max_age_seconds or policy.max_checkpoint_age_seconds
    trial = None
    if wish.trial_seconds is not None:
        trial = Trial(new_id(), wish.trial_seconds, wish.allow_difference)
    return Plan(
        kind, release, new_id(), Suspend(wish.how, live.id, age),
        replace(_restore(wish, None), suspended=True),
        _watch(release, refused_before, wish), before.number if before else None, trial=trial,
    )


def decide_rollback(
    place: Workplace, live: FlinkJob | None, job: str, to: int | None, wish: Wish
) -> Plan:
    """Decide how to go back to an earlier deployment's code and settings."""
    current = (place.deployments.of_flink_job(live.id) if live is not None
               else place.deployments.last_good(job))
    if current is None:
        message = f"{job} was not deployed by sluice: there is no earlier version of it."
        raise RefusedError(message, f"`sluice history {job}` shows what there was.")
    target = _target(place, job, current, to, runs=live is not None)
    release = replace(target.release, parallelism=current.release.parallelism)
    wrote, reads = spec_from_json(current.release.spec), spec_from_json(release.spec)
    problem = fits(wrote, reads) or misses(wrote, reads)
    plan = (_after_the_end(place, release, wish) if live is None
            else decide_change(place, Kind.ROLLBACK, release, live, 0.0, wish))
    if live is None and wish.start_from is None and plan.restore.path is None:
        message = f"{job} does not run, and no state of it is known."
        raise RefusedError(message, "Say where it is: --from PATH.")
    warning = (f"deployment {target.number} had failed; "
               if target.state is DeploymentState.FAILED else "")
    if wish.start_from is None and problem is None:
        return replace(plan, note=warning + "it goes on from the state of now: nothing is"
                                            " processed again")
    path = _address(place, job, wish.start_from) or state_of(place, target)
    if path is None:
        message = (f"Deployment {target.number} cannot go on from the state of now: {problem}; and"
                   " of its own state nothing is left.")
        raise RefusedError(message, "`sluice savepoint list` shows what there is: --from PATH.")
    return replace(
        plan, restore=_restore(wish, path), note=warning + _processed_again(place, target, path)
    )


def _after_the_end(place: Workplace, release: Release, wish: Wish) -> Plan:
    """Decide how to start an earlier version of a job that does not run any more."""
    path = last_state(place, release.job).path
    return Plan(
        Kind.ROLLBACK, release, new_id(), Suspend(How.NOTHING), _restore(wish, path),
        _watch(release, 0.0, wish),
    )


def _restore(wish: Wish, path: str | None) -> Restore:
    return Restore(path=path, allow_dropped=wish.allow_dropped, allow_unknown=wish.allow_unknown)


def _address(place: Workplace, job: str, given: str | None) -> str | None:
    """Return the address of a savepoint that was given by its number or its address."""
    if given is None or not given.isdecimal():
        return given
    found = place.savepoints.get(int(given))
    if found is None or found.job != job or found.path is None or found.state.is_over:
        message = f"{job} has no savepoint {given} that is there."
        raise RefusedError(message, f"`sluice savepoint list {job}` lists them.")
    return found.path


def _target(
    place: Workplace, job: str, current: Deployment, to: int | None, *, runs: bool
) -> Deployment:
    if to is not None:
        found = place.deployments.get(to)
        if found is None or found.release.job != job:
            message = f"{job} has no deployment {to}."
            raise RefusedError(message, f"`sluice history {job} --deployments` lists them.")
        if runs and found.number == current.number:
            message = f"Deployment {to} of {job} is what runs: there is nothing to go back to."
            raise RefusedError(message, f"`sluice history {job} --deployments` lists the others.")
        return found
    for one in place.deployments.all(job):
        good = one.state.value in {"ended", "live"}
        if one.number < current.number and good and (
            one.release.version != current.release.version
        ):
            return one
    message = f"{job} has no earlier version to go back to."
    raise RefusedError(message, f"`sluice history {job} --deployments` shows all of them.")


def _processed_again(place: Workplace, target: Deployment, path: str) -> str:
    """Say which events are processed again, and what that does to each output."""
    savepoint = place.savepoints.at(path)
    since = (f"since {savepoint.completed_at:%Y-%m-%d %H:%M:%S} UTC"
             if savepoint is not None and savepoint.completed_at else f"since {path}")
    spec = spec_from_json(target.release.spec)
    effects = "; ".join(
        f"{output.name}: {'harmless, ' if output.harmless else 'NOT harmless, '}{output.again}"
        for output in spec.writes
    )
    return f"what came {since} is processed again. {effects}"


def _watch(release: Release, refused: float, wish: Wish, *, short: bool = False) -> Watch:
    found = watch_for(spec_from_json(release.spec), refused, wish.max_refused)
    if short:
        # Nothing ran before that one could return to, or compare it with: it is enough that it
        # runs, whatever was sent to it.
        found = replace(found, checkpoints=1, seconds=0.0, max_refused=1.0)
    return replace(
        found,
        seconds=found.seconds if wish.watch_seconds is None else wish.watch_seconds,
        give_up_seconds=max(
            wish.give_up_seconds or found.give_up_seconds, 2 * (wish.watch_seconds or 0)
        ),
    )
