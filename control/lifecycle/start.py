"""Start a version of a job under an id of its own, once, whoever tries and how often."""

from collections.abc import Mapping
from typing import Any

from control.errors import SluiceError
from control.flink import FlinkAwayError
from control.lifecycle.book import BookAwayError
from control.lifecycle.deployments import Release
from control.lifecycle.watch import await_running
from control.lifecycle.words import DeploymentState
from control.lifecycle.workplace import Workplace
from jobs.lane import LIVE, Lane
from jobs.spec import spec_from_json


def start(
    place: Workplace, release: Release, meant: Mapping[str, Any], max_restarts: int | None = None
) -> dict[str, Any]:
    """Submit a release and wait until all of it runs. Harmless when done again.

    How often it may be restarted by then, its health says, where nothing else is said.
    """
    job = str(meant["flink_job"])
    path = meant.get("path")
    number = place.deployments.add(release, int(meant["operation"]), job, path)
    if place.eyes.state(job) is None:
        graph = place.prepare(release, job).graph()
        place.deployments.set_graph(number, graph.as_json())
        submit(place, release, job, path, allow_dropped=bool(meant.get("allow_dropped")))
    spec = spec_from_json(release.spec)
    try:
        await_running(place, job, spec.health, spec.health.max_restarts
                      if max_restarts is None else max_restarts)
    except SluiceError as error:
        if not isinstance(error, (FlinkAwayError, BookAwayError)):
            place.deployments.set_state(number, DeploymentState.FAILED)
        raise
    return {"deployment": number, "flink_job": job}


def submit(
    place: Workplace, release: Release, job: str, path: str | None, *, allow_dropped: bool,
    lane: Lane = LIVE,
) -> None:
    """Give Flink a job that it does not have."""
    prepared = place.prepare(release, job, lane)
    prepared.graph()
    # The last moment: a command that was paused while it built may not hold the job any more.
    place.guard.check()
    try:
        prepared.start(path, allow_dropped=allow_dropped)
    except SluiceError:
        # The client may have failed after Flink took the job.
        if place.eyes.state(job) is None:
            raise
