"""Which savepoints are kept, whoever would delete them, and which of the others may go."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from control.lifecycle.addresses import normal
from control.lifecycle.deployments import Deployment, Wanted
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.words import DeploymentState, Origin

# Where nobody has said more.
KEEP_COUNT = 5
KEEP_FOR = timedelta(days=14)
# So many deployments back a rollback finds the state that they ended with.
_DEPLOYMENTS_KEPT = 3
_RUNS = frozenset({DeploymentState.LIVE, DeploymentState.STARTING})
_PERIODIC = frozenset({Origin.PERIODIC})
# Those that somebody took by hand stay until somebody deletes them.
_PRUNED = _PERIODIC | {Origin.STOP, Origin.UPGRADE, Origin.ROLLBACK, Origin.SCALE, Origin.TRIAL}


def spared(
    savepoints: Sequence[Savepoint], deployments: Sequence[Deployment]
) -> dict[int, str]:
    """Return those of a job's savepoints that nobody may delete, each with the reason."""
    there = sorted(savepoints, key=lambda one: -one.number)
    found: dict[int, str] = {}

    def spare(one: Savepoint | None, why: str) -> None:
        if one is not None:
            found.setdefault(one.number, why)

    own = [one for one in there if one.origin is not Origin.CHECKPOINT]
    # Flink may delete a checkpoint that is newer.
    for kind in (there, own):
        spare(next(iter(kind), None), "it is the newest")
    spare(next((one for one in there if one.verified), None), "it is the last one verified")
    for deployment in _kept(deployments):
        began = normal(deployment.restored_from) if deployment.restored_from else None
        for one in there:
            if one.path is not None and normal(one.path) == began:
                spare(one, f"deployment {deployment.number} began with it")
        spare(next((one for one in there if one.flink_job == deployment.flink_job), None),
              f"it is the last one of deployment {deployment.number}")
    return found


def is_said(wanted: Wanted) -> bool:
    """Tell whether somebody has said which savepoints of a job are kept."""
    return wanted.keep_count is not None or wanted.keep_for is not None


def in_force(wanted: Wanted) -> tuple[int, timedelta]:
    """Return how many savepoints of a job are kept, and for how long."""
    return wanted.keep_count or KEEP_COUNT, wanted.keep_for or KEEP_FOR


def to_prune(
    wanted: Wanted, savepoints: Sequence[Savepoint], deployments: Sequence[Deployment],
    now: datetime,
) -> list[Savepoint]:
    """Choose savepoints that nobody needs: too many, or too old.

    Where nobody has said how many are kept, only those that a schedule made.
    """
    origins = _PRUNED if is_said(wanted) else _PERIODIC
    most, oldest = in_force(wanted)
    kept = spared(savepoints, deployments)
    there = sorted((one for one in savepoints if one.origin in origins),
                   key=lambda one: -one.number)
    return [
        one for place, one in enumerate(there)
        if one.number not in kept and (place >= most or now - one.begun_at > oldest)
    ]


def _kept(deployments: Sequence[Deployment]) -> list[Deployment]:
    """Return the last few that did well with those in between, and whatever runs."""
    found, well = [], 0
    for one in sorted(deployments, key=lambda one: -one.number):
        if well < _DEPLOYMENTS_KEPT or one.state in _RUNS:
            found.append(one)
        well += one.state is not DeploymentState.FAILED
    return found
