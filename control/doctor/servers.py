"""Checks of the servers: that they answer and hold what the product needs."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from control.database import connect, has_timescale
from control.db.migrations import status as migration_status
from control.doctor.finding import Finding, bad, good, skipped, warn
from control.errors import SluiceError
from control.kafka import compare_topics
from control.registry import COMPATIBILITY, RegistryClient
from control.schema import registration
from control.schema.files import read_families
from control.search import template_version, wanted_template
from control.settings import Settings
from control.stack.component import NotReadyError
from control.stack.context import OpenStack
from control.stack.probing import ask
from control.stack.status import ComponentStatus, State, read_status
from control.topics import TOPICS

# One slot for each job of the product; see TASK_MANAGERS.
_SLOTS_NEEDED = 6
_FLINK = "2.2"
_UP = "sluice stack up"

# The oldest servers that this product was tried with.
_OLDEST = {"kafka": (4, 0), "elasticsearch": (9, 0), "postgres": (17, 0), "redis": (7, 0)}


def check_servers(stack: OpenStack, settings: Settings) -> Iterator[Finding]:
    """Run the checks; those of a server that is down are skipped."""
    entries = {entry.component: entry for entry in read_status(stack)}
    for entry in entries.values():
        yield _server(entry)
    up = {name for name, entry in entries.items() if entry.state is State.UP}
    database = stack.state.database
    checks: list[tuple[str, str, Callable[[], Iterator[Finding]]]] = [
        ("topics", "kafka", lambda: _topics(settings)),
        ("compatibility", "registry", lambda: _compatibility(settings)),
        ("schemas", "registry", lambda: _schemas(settings)),
        ("timescaledb", database, lambda: _timescale(settings)),
        ("migrations", database, lambda: _migrations(settings)),
        ("index template", "elasticsearch", lambda: _template(settings)),
        ("flink slots", "jobmanager", lambda: _slots(settings)),
        ("checkpoints", "jobmanager", lambda: _checkpoints(stack, settings)),
    ]
    for name, server, check in checks:
        if server not in up:
            yield skipped(name, f"{server} is not up")
            continue
        try:
            yield from check()
        except SluiceError as error:
            yield bad(name, error.message, error.hint)
        except NotReadyError as error:
            yield bad(name, str(error), _UP)


def _server(entry: ComponentStatus) -> Finding:
    if entry.state is State.STOPPED:
        return warn(entry.component, "not started", _UP)
    if entry.state is not State.UP:
        remedy = _UP
        if entry.external:
            remedy = f"start the server at {entry.address}, or unset its SLUICE_ setting"
        elif entry.state is State.SILENT:
            remedy = f"sluice stack logs {entry.component}"
        return bad(entry.component, entry.problem, remedy)
    oldest = _OLDEST.get(entry.component)
    if oldest and entry.version and _numbers(entry.version) < oldest:
        wanted = ".".join(map(str, oldest))
        return bad(entry.component, f"{entry.version} at {entry.address} is too old",
                   f"use {wanted} or newer")
    return good(entry.component, f"{entry.version} at {entry.address}".strip())


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.partition(" ")[0].split(".")
    return tuple(int(part) for part in parts[:2] if part.isdigit())


def _topics(settings: Settings) -> Iterator[Finding]:
    differences = compare_topics(settings.kafka_bootstrap, TOPICS)
    missing = [entry.topic for entry in differences if entry.what == "topic"]
    if missing:
        yield bad("topics", f"missing: {', '.join(missing)}", _UP)
    for entry in differences:
        if entry.what != "topic":
            yield warn(f"topic {entry.topic}",
                       f"{entry.what} is {entry.found}, not {entry.wanted}",
                       _topic_remedy(entry.topic, entry.what, entry.wanted))
    if not differences:
        yield good("topics", f"{len(TOPICS)} topics with their settings")


def _topic_remedy(topic: str, what: str, wanted: str) -> str:
    if what == "partitions":
        return f"kafka-topics --alter --topic {topic} --partitions {wanted}"
    return f"kafka-configs --alter --topic {topic} --add-config {what}={wanted}"


def _compatibility(settings: Settings) -> Iterator[Finding]:
    with RegistryClient(settings.registry_url) as registry:
        level = registry.compatibility()
        count = len(registry.subjects())
    if level == COMPATIBILITY:
        yield good("compatibility", f"{level}, {count} subjects")
    else:
        yield bad("compatibility", f"the registry's rule is {level}, not {COMPATIBILITY}", _UP)


def _schemas(settings: Settings) -> Iterator[Finding]:
    with RegistryClient(settings.registry_url) as registry:
        standings = registration.look(registry, read_families(settings.schemas))
    differing = [
        entry.subject for entry in standings if entry.state is registration.State.DIFFERS
    ]
    missing = [
        f"{entry.subject} {version.label}" for entry in standings for version in entry.missing
        if entry.subject not in differing
    ]
    if differing:
        yield bad("schemas", f"git and the registry differ: {', '.join(differing)}",
                  "sluice schema check")
    elif missing:
        yield bad("schemas", f"not registered: {', '.join(missing)}", "sluice schema register")
    else:
        count = sum(len(entry.registered) for entry in standings)
        yield good("schemas", f"{count} versions of {len(standings)} schemas registered")


def _timescale(settings: Settings) -> Iterator[Finding]:
    with connect(settings.timescale_dsn) as connection:
        if not has_timescale(connection):
            yield warn(
                "timescaledb",
                "plain PostgreSQL: time_bucket by a shim, views instead of continuous aggregates,"
                " no compression",
                "sluice stack up --db timescale-wasm, or set SLUICE_TIMESCALE_DSN",
            )
            return
        row = connection.execute(
            "SELECT extversion, current_setting('timescaledb.license') FROM pg_extension"
            " WHERE extname = 'timescaledb'"
        ).fetchone()
    version, licence = row or ("", "")
    if licence == "timescale":
        yield good("timescaledb", f"{version} with its licence features")
    else:
        yield bad("timescaledb", f"{version} with licence {licence!r}: no compression, no"
                  " continuous aggregates", "use the build with timescaledb.license=timescale")


def _migrations(settings: Settings) -> Iterator[Finding]:
    _, entries = migration_status(settings.timescale_dsn)
    wrong = [f"{entry.file}: {entry.problem}" for entry in entries if entry.problem]
    pending = [entry.file for entry in entries if entry.state != "applied"]
    if wrong:
        yield bad("migrations", "; ".join(wrong), "sluice db status")
    elif pending:
        yield bad("migrations", f"not applied: {', '.join(pending)}", "sluice db migrate")
    else:
        yield good("migrations", f"{len(entries)} applied")


def _template(settings: Settings) -> Iterator[Finding]:
    wanted = int(wanted_template()["version"])
    found = template_version(settings.elasticsearch_url)
    if found == wanted:
        yield good("index template", f"version {found}")
    else:
        state = "missing" if found is None else f"version {found}, not {wanted}"
        yield bad("index template", state, _UP)


def _slots(settings: Settings) -> Iterator[Finding]:
    overview = ask(f"{settings.flink_url}/overview")
    version = str(overview.get("flink-version", ""))
    total, free = int(overview["slots-total"]), int(overview["slots-available"])
    if not version.startswith(f"{_FLINK}."):
        yield bad("flink version", f"{version}; the connectors are for {_FLINK}",
                  f"use a Flink {_FLINK} cluster")
    if total < _SLOTS_NEEDED:
        yield bad("flink slots", f"{total}; the product's jobs need {_SLOTS_NEEDED}",
                  f"{_UP}, or add TaskManagers to your cluster")
    else:
        yield good("flink slots", f"{free} of {total} free")


def _checkpoints(stack: OpenStack, settings: Settings) -> Iterator[Finding]:
    entries = {
        entry["key"]: entry["value"] for entry in ask(f"{settings.flink_url}/jobmanager/config")
    }
    for key, name in (("execution.checkpointing.dir", "checkpoints"),
                      ("execution.checkpointing.savepoint-dir", "savepoints")):
        address = str(entries.get(key, ""))
        if not address:
            yield bad(name, f"Flink has no {key}: state dies with the JobManager",
                      f"set {key} in Flink's config.yaml")
        elif urlsplit(address).scheme != "file":
            yield good(name, f"{address} (Flink's own storage; not tried from here)")
        else:
            yield _folder(stack, name, Path(urlsplit(address).path))


def _folder(stack: OpenStack, name: str, folder: Path) -> Finding:
    processes = {
        part.name: process for part in stack.components
        if part.name.startswith(("jobmanager", "taskmanager"))
        and (process := part.find(stack.context)) is not None
    }
    if not processes:
        return warn(name, f"{folder} is a local folder of a Flink that is not ours",
                    "make sure that every TaskManager sees the same folder")
    refused = [who for who, process in processes.items() if not _may_write(process, folder)]
    if refused:
        return bad(name, f"{', '.join(refused)} cannot write {folder}",
                   f"chown or chmod {folder} for Flink's account")
    return good(name, f"{folder} is writable from {len(processes)} processes")


def _may_write(process: psutil.Process, folder: Path) -> bool:
    """Write a file as the process's own account, where this account may do that."""
    try:
        uid = process.uids().effective
    except psutil.Error:
        return False
    probe = folder / f".doctor-{process.pid}"
    same = uid == psutil.Process().uids().effective
    done = subprocess.run(
        ["/bin/sh", "-c", ': > "$1" && rm "$1"', "sh", str(probe)],
        user=None if same else uid, capture_output=True, check=False,
    )
    return done.returncode == 0
