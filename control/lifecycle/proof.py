"""Prove that a savepoint can be restored: start its job from it in a lane that writes nothing."""

import sys
import uuid
from dataclasses import replace

from control.errors import RefusedError, SluiceError
from control.lifecycle.deployments import Release
from control.lifecycle.graph import Graph
from control.lifecycle.plan import Watch
from control.lifecycle.run import Say
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.states import writer_of
from control.lifecycle.suspend import end_job
from control.lifecycle.watch import watch_for, watch_job
from control.lifecycle.words import Event
from control.lifecycle.workplace import Workplace
from control.savepoint_metadata import SavepointMetadata
from jobs.lane import Into, Lane
from jobs.spec import TRANSACTIONS, JobSpec, spec_from_json


def lane_of(savepoint: Savepoint) -> Lane:
    """Return the lane in which a savepoint is tried."""
    return Lane(f"verify-{savepoint.number}", Into.NOTHING)


def prove_restore(
    place: Workplace, savepoint: Savepoint, held: SavepointMetadata, say: Say, *,
    reason: str = "",
) -> None:
    """Start the code that wrote a savepoint from it, until a checkpoint is complete; end it."""
    release = _writer(place, savepoint)
    spec = spec_from_json(release.spec)
    if not spec.lanes:
        message = f"The code of savepoint {savepoint.number} cannot run beside the live job."
        raise RefusedError(message, "`sluice savepoint verify` without --restore reads it.")
    lane, job = lane_of(savepoint), uuid.uuid4().hex
    for left in place.eyes.flink.jobs():
        if left.name == lane.own(spec.name) and not left.is_over:
            # Of a command that was killed.
            end_job(place, left.id)
    say("Flink's client builds the job")
    prepared = place.prepare(release, job, lane)
    _require_places(savepoint, spec, held, prepared.graph())
    try:
        say("starting it against a sink that writes nothing")
        # Left without a place are the open transactions of the live job only.
        prepared.start(savepoint.path, allow_dropped=True)
        watch_job(place, job, spec.health, _watch(spec), lambda text: say(f"restoring: {text}"))
    finally:
        end_job(place, job)
    place.savepoints.verified(savepoint.number, "restored", held.size)
    place.ledger.tell(savepoint.job, Event.SAVEPOINT_VERIFIED,
                      f"{savepoint.number}: restored by version {release.version}",
                      savepoint=savepoint.number, reason=reason)


def _writer(place: Workplace, savepoint: Savepoint) -> Release:
    deployment = writer_of(place, savepoint)
    if deployment is None:
        message = f"Which code wrote savepoint {savepoint.number} is not known."
        raise RefusedError(message, "`sluice savepoint verify` without --restore reads it.")
    return deployment.release


def _require_places(
    savepoint: Savepoint, spec: JobSpec, held: SavepointMetadata, graph: Graph
) -> None:
    passing = {part.uid for part in spec.state if part.form.startswith(TRANSACTIONS)}
    lost = [
        part.label for part in held.operators
        if part.bytes and graph.find(part.id) is None
        and (part.uid or part.name or "").rpartition(": ")[2] not in passing
    ]
    if lost:
        message = (f"Savepoint {savepoint.number} cannot be restored whole: the code that wrote it"
                   f" has no place for {', '.join(lost)}.")
        raise SluiceError(message, "`sluice savepoint show` tells what it holds.")


def _watch(spec: JobSpec) -> Watch:
    # All that counts is that it runs and can keep its state, not how far it is.
    return replace(watch_for(spec, 1.0), checkpoints=1, seconds=0.0, max_lag=sys.maxsize)
