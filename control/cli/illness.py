"""Why a job that runs is not well, in a line for each reason."""

from control.cli.output import duration
from control.lifecycle.eyes import Sight
from control.lifecycle.watch import refusals
from jobs.spec import JobSpec

# Flink counts restarts since the job began: one of last week tells nothing of today.
_RECENT_SECONDS = 3600


def illnesses(
    spec: JobSpec, sight: Sight, now: float, failed_at: float | None
) -> list[str]:
    """Return what is wrong; `failed_at`: when it last failed, where it was restarted too often."""
    name = spec.name
    if sight.state == "FAILED":
        return [f"{name} failed{_why(sight)}: `sluice deploy {name}` goes on from its last state."]
    if sight.state != "RUNNING" or not sight.all_run:
        return [f"{name} is {(sight.state or 'unknown').lower()}: not all of it runs{_why(sight)}."]
    found = [_restarts(spec, sight, now, failed_at), _checkpoints(spec, sight, now)]
    if sight.lag is not None and sight.lag > spec.health.max_lag:
        found.append(f"{name} is {sight.lag:,} messages behind.")
    refused = refusals(sight, spec.health.max_refused)
    if refused is not None:
        found.append(f"{name}: {refused}. `sluice dlq list` shows why.")
    return [one for one in found if one]


def _restarts(spec: JobSpec, sight: Sight, now: float, failed_at: float | None) -> str:
    # To be scaled in place is a restart, too, and no failure.
    if failed_at is None or now - failed_at > _RECENT_SECONDS:
        return ""
    return (f"{spec.name} was restarted {sight.restarts} times, after a failure"
            f" {duration(now - failed_at)} ago{_why(sight)}.")


def _checkpoints(spec: JobSpec, sight: Sight, now: float) -> str:
    most = spec.health.max_checkpoint_age_seconds
    last = sight.checkpoints.newest if sight.checkpoints else None
    if last is not None:
        age = now - last.at / 1000
        return f"{spec.name}: its last checkpoint is {duration(age)} old." if age > most else ""
    if sight.started is None or now - sight.started <= most:
        return ""
    failure = sight.checkpoints.last_failure if sight.checkpoints else None
    return (f"{spec.name} has completed no checkpoint in {duration(now - sight.started)}"
            + (f"; the last one failed: {failure}" if failure else "."))


def _why(sight: Sight) -> str:
    return f" ({sight.exception})" if sight.exception else ""
