"""What is lost when a job begins without state."""

from datetime import UTC, datetime, timedelta

from control.lifecycle.states import last_state
from control.lifecycle.workplace import Workplace
from control.savepoint_metadata import local_path
from jobs.spec import spec_from_json


def given_up(place: Workplace, job: str) -> str:
    """Say which state is given up: where it lies, how large and old it is, and what it holds."""
    last = last_state(place, job)
    newest = next(iter(place.savepoints.all(job, there_only=True)), None)
    path = last.path or (newest.path if newest is not None else None)
    if path is None:
        if last.ran:
            return f"the state of deployment {last.deployment} is given up: {last.why}"
        return "no earlier state is known"
    savepoint = place.savepoints.at(path)
    size = (f"{savepoint.size:,} bytes" if savepoint is not None and savepoint.size is not None
            else "of unknown size")
    at = savepoint.completed_at if savepoint is not None else None
    age = _age(place, at or _written(path))
    wrote = savepoint.deployment if savepoint is not None else last.deployment
    return f"the state in {path} is given up ({size}, {age}): {_parts(place, wrote)}"


def _age(place: Workplace, at: datetime | None) -> str:
    if at is None:
        return "of unknown age"
    return f"{timedelta(seconds=round(max(place.clock.now() - at.timestamp(), 0)))} old"


def _written(path: str) -> datetime | None:
    """Return when a snapshot was written, where this machine can look."""
    home = local_path(path)
    try:
        return (datetime.fromtimestamp((home / "_metadata").stat().st_mtime, UTC)
                if home is not None else None)
    except OSError:
        return None


def _parts(place: Workplace, number: int | None) -> str:
    deployment = place.deployments.get(number) if number is not None else None
    if deployment is None:
        return "what it holds is not known, no deployment of ours wrote it"
    parts = spec_from_json(deployment.release.spec).state
    return ", ".join(f"{part.uid} ({part.what})" for part in parts) or "no operator declares any"
