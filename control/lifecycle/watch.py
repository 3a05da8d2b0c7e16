"""Judge whether a version of a job is well, while it runs."""

import math
from dataclasses import replace
from typing import Any

from control.errors import SluiceError
from control.flink_answers import ENDED
from control.lifecycle.eyes import Sight
from control.lifecycle.plan import Watch
from control.lifecycle.run import Say
from control.lifecycle.workplace import Workplace
from jobs.spec import Health, JobSpec

# Fewer say nothing about a share.
_ENOUGH = 20
# Of what happens by chance, so many standard deviations more are seen once in a thousand times.
_CHANCE = 3
# What is refused comes in bursts: a little too much may be made up for until the watch is over, so
# many times what is allowed, or half of all, is not.
_AT_ONCE, _AT_ONCE_MOST = 10, 0.5
_PAUSE_SECONDS = 0.5
_START_SECONDS = 120
# For so long a job may be unknown while a JobManager is elected and finds its jobs again.
UNKNOWN_SECONDS = 20.0


class UnhealthyError(SluiceError):
    """A version is not well: it is taken back."""


def watch_for(
    spec: JobSpec, refused_before: float, max_refused: float | None = None
) -> Watch:
    """Return when a new version counts as good, given how the one before did."""
    allowed = spec.health.max_refused if max_refused is None else max_refused
    return Watch(
        spec.upgrade.checkpoints, spec.upgrade.watch_seconds, spec.upgrade.give_up_seconds,
        spec.health.max_restarts, spec.health.max_lag,
        max(allowed, allowed_after(refused_before)),
    )


def allowed_after(refused_before: float) -> float:
    """Return what share a new version may refuse where the one before refused this one."""
    return 2 * refused_before


def illness(sight: Sight, watch: Watch) -> str | None:
    """Return what is so wrong with a job that nobody need watch it longer, if anything is."""
    why = f": {sight.exception}" if sight.exception else ""
    if sight.state in ENDED:
        return f"it {sight.state.lower()}{why}"
    if sight.restarts > watch.max_restarts:
        return f"it was restarted {sight.restarts} times{why}"
    at_once = max(min(_AT_ONCE * watch.max_refused, _AT_ONCE_MOST), watch.max_refused)
    # Whoever reads it wants to know what is allowed, not from when on nobody waits.
    return refusals(sight, watch.max_refused) if refusals(sight, at_once) else None


def refusals(sight: Sight, allowed: float) -> str | None:
    """Return how much a job refused, where that is more than is allowed."""
    expected = allowed * sight.judged
    # A few more than expected may be chance.
    if sight.judged < _ENOUGH or sight.refused <= expected + _CHANCE * math.sqrt(expected):
        return None
    return (f"it refused {sight.refused:,} of {sight.judged:,} messages"
            f" ({sight.share_refused:.1%}; {allowed:.1%} is allowed)")


def lacking(sight: Sight, watch: Watch, first_lag: int | None, seconds: float) -> str | None:
    """Return what a job must still show before it counts as good, if anything."""
    completed = sight.checkpoints.completed if sight.checkpoints else 0
    if not sight.all_run:
        return "not all of its tasks run"
    if completed < watch.checkpoints:
        failed = sight.checkpoints.last_failure if sight.checkpoints else None
        return (f"{completed} of {watch.checkpoints} checkpoints"
                + (f"; the last one failed: {failed}" if failed else ""))
    if sight.lag is not None and sight.lag > watch.max_lag and sight.lag >= (first_lag or 0):
        return f"{sight.lag:,} messages behind, and not catching up"
    if seconds < watch.seconds:
        return f"{seconds:.0f} of {watch.seconds:.0f} s"
    return None


def await_running(place: Workplace, job: str, health: Health, max_restarts: int) -> None:
    """Wait until all tasks of a job run, or say why they do not."""
    watch = Watch(0, 0, _START_SECONDS, max_restarts, 0, 1.0)
    _look_until(place, job, health, watch, lambda sight, _: None if sight.all_run else "starting",
                lambda _: None)


def watch_job(
    place: Workplace, job: str, health: Health, watch: Watch, say: Say
) -> dict[str, Any]:
    """Watch a job until it counts as good, or fail saying why it does not."""
    begun = place.clock.now()
    lags: list[int] = []

    def missing(sight: Sight, seconds: float) -> str | None:
        if sight.lag is not None:
            lags.append(sight.lag)
        return lacking(sight, watch, lags[0] if lags else None, seconds)

    sight = _look_until(place, job, health, watch, missing, say)
    return {
        "seconds": round(place.clock.now() - begun, 1),
        "checkpoints": sight.checkpoints.completed if sight.checkpoints else 0,
        "restarts": sight.restarts, "lag": sight.lag, "judged": sight.judged,
        "refused": sight.refused,
    }


def _look_until(
    place: Workplace, job: str, health: Health, watch: Watch, missing: Any, say: Say
) -> Sight:
    begun = place.clock.now()
    seen = begun
    worst = Sight(None)
    while True:
        sight = place.eyes.sight(job, health)
        now = place.clock.now()
        if sight.state is None:
            if now - seen > UNKNOWN_SECONDS:
                message = f"Flink does not know job {job} any more."
                raise UnhealthyError(message, "Is high availability on? `sluice doctor` tells.")
        else:
            seen, worst = now, _worse(worst, sight)
            if illness(worst, watch) is not None:
                # Why it failed is told a little later than that it did.
                why = place.eyes.exception(job) if sight.exception is None else None
                problem = illness(replace(worst, exception=why or worst.exception), watch)
                raise _not_well(job, problem)
            lack = missing(sight, now - begun)
            if lack is None:
                too_many = refusals(sight, watch.max_refused)
                if too_many is not None:
                    raise _not_well(job, too_many)
                return sight
            say(lack)
            if now - begun > watch.give_up_seconds:
                why = f" Its last exception: {sight.exception}" if sight.exception else ""
                message = f"Job {job} is not well after {now - begun:.0f} s: {lack}.{why}"
                raise UnhealthyError(message)
        place.clock.sleep(_PAUSE_SECONDS)


def _not_well(job: str, problem: str | None) -> UnhealthyError:
    return UnhealthyError(f"Job {job} is not well: {problem}.")


def _worse(before: Sight, sight: Sight) -> Sight:
    """Return a look with the most restarts seen: another JobManager counts from zero again."""
    return replace(sight, restarts=max(before.restarts, sight.restarts))
