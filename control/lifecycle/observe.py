"""Gather what the preflight judges: each server is asked once, and nothing is changed."""

import httpx
import psycopg
from kafka.errors import KafkaError

from control.database import connect
from control.errors import SluiceError
from control.kafka import admin_client
from control.lifecycle.deployments import Release
from control.lifecycle.graph import Graph, graph_from_json
from control.lifecycle.plan import Plan
from control.lifecycle.preflight import Facts
from control.lifecycle.releases import archive_store, code_folder, unpacked
from control.lifecycle.states import writer_at
from control.lifecycle.workplace import Workplace
from control.registry import RegistryClient
from control.savepoint_metadata import OperatorState, read_metadata
from control.schema.files import read_families
from control.settings import Settings
from control.stack.context import open_stack
from jobs.spec import JobSpec, spec_from_json


def gather(settings: Settings, place: Workplace, plan: Plan, graph: Graph) -> Facts:
    """Look at everything that the preflight judges."""
    spec = spec_from_json(plan.release.spec)
    cluster = place.eyes.flink.cluster()
    running = plan.suspend.flink_job
    sight = place.eyes.sight(running, spec.health) if running else None
    state, wrote = _state(settings, place, plan)
    return Facts(
        flink_version=cluster.version,
        free_slots=cluster.free_slots,
        slots_given_back=_slots(place, running),
        missing_topics=_missing_topics(settings, spec),
        missing_schemas=_missing_schemas(settings, plan.release, spec),
        migration=_migration(settings),
        graph=graph,
        state=state,
        wrote=wrote,
        job_state=sight.state if sight else None,
        exception=sight.exception if sight else None,
        savepoints_under_way=len(place.savepoints.pending(plan.release.job)),
    )


def _state(
    settings: Settings, place: Workplace, plan: Plan
) -> tuple[tuple[OperatorState, ...] | None, JobSpec | None]:
    """Return the state that will be restored, where that was read, and who wrote it."""
    path = plan.restore.path
    if plan.restore.suspended and plan.suspend.flink_job:
        wrote = place.deployments.of_flink_job(plan.suspend.flink_job)
        newest = place.eyes.flink.checkpoints(plan.suspend.flink_job).newest
        if newest is None:
            # It has not got as far as a checkpoint; what it looks like is known all the same.
            known = graph_from_json(wrote.graph) if wrote and wrote.graph else None
            return _of_graph(known), _spec(wrote)
        path = newest.path
    elif path is not None:
        wrote = writer_at(place, path)
    else:
        return None, None
    context = open_stack(settings).context
    try:
        found = read_metadata(context, path)
    except SluiceError:
        if not plan.restore.suspended or not plan.suspend.flink_job:
            raise
        # Flink deletes old checkpoints all the time: a newer one is there by now.
        newest = place.eyes.flink.checkpoints(plan.suspend.flink_job).newest
        if newest is None or newest.path == path:
            raise
        found = read_metadata(context, newest.path)
    return found.operators, _spec(wrote)


def _of_graph(graph: Graph | None) -> tuple[OperatorState, ...] | None:
    if graph is None:
        return None
    return tuple(
        OperatorState(one.id, one.uid, one.name, one.parallelism, one.max_parallelism, 0, 0)
        for one in graph.operators if one.uid
    )


def _spec(deployment: object) -> JobSpec | None:
    release = getattr(deployment, "release", None)
    return spec_from_json(release.spec) if release is not None else None


def _slots(place: Workplace, job: str | None) -> int:
    if job is None:
        return 0
    vertices = place.eyes.flink.details(job).get("vertices", [])
    return max((int(vertex["parallelism"]) for vertex in vertices), default=0)


def _missing_topics(settings: Settings, spec: JobSpec) -> tuple[str, ...] | None:
    try:
        with admin_client(settings.kafka_bootstrap) as admin:
            there = set(admin.list_topics())
    except (SluiceError, KafkaError):
        return None
    return tuple(name for name in spec.topics if name not in there)


def _missing_schemas(
    settings: Settings, release: Release, spec: JobSpec
) -> tuple[str, ...] | None:
    if not spec.schemas:
        return ()
    # Those that this code has: an older version needs no newer ones than it knows.
    code = unpacked(archive_store(settings), release.archive, code_folder(settings))
    newest = {
        family.subject: family.versions[-1].schema
        for family in read_families(code / "schemas") if family.versions
    }
    try:
        with RegistryClient(settings.registry_url) as registry:
            return tuple(
                subject for subject in spec.schemas
                if subject not in newest or registry.id_of(subject, newest[subject]) is None
            )
    except (SluiceError, httpx.HTTPError):
        return None


def _migration(settings: Settings) -> int | None:
    try:
        with connect(settings.timescale_dsn) as connection:
            row = connection.execute(
                "SELECT max(number) FROM control.migrations WHERE state = 'applied'"
            ).fetchone()
    except (SluiceError, psycopg.Error):
        return None
    return int(row[0]) if row and row[0] is not None else None
