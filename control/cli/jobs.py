"""`sluice jobs`: what jobs there are, what is known of them, what Flink would make of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import click
from rich.markup import escape

from control.cli.drawing import COLUMNS, draw
from control.cli.left_out import tell_left_out
from control.cli.output import duration, json_option, print_json, print_table, progress_line
from control.errors import SluiceError
from control.flink import FlinkClient
from control.flink_answers import FlinkJob
from control.lifecycle.book import Book
from control.lifecycle.decide import new_id
from control.lifecycle.deployments import Deployment, Deployments
from control.lifecycle.graph import Graph
from control.lifecycle.open import open_desk
from control.lifecycle.releases import find_spec, make_release, read_specs
from control.settings import Settings

_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Live:
    """What runs of a job, as far as Flink and the database tell."""

    state: str
    id: str | None = None
    uptime_s: int | None = None
    deployment: int | None = None
    version: str | None = None

    @property
    def title(self) -> str:
        """The version with its deployment, for a person."""
        if self.version is None:
            return _UNKNOWN if self.id is not None or self.state == _UNKNOWN else ""
        return f"{self.version} ({self.deployment})"


@click.group()
def jobs() -> None:
    """Show the jobs of the product."""


@jobs.command("list")
@json_option
@click.pass_obj
def list_jobs(settings: Settings, *, as_json: bool) -> None:
    """List every job, whether it runs, and in which version."""
    specs = read_specs(settings.source).values()
    runs = _look(settings, [spec.name for spec in specs])
    if as_json:
        print_json([
            {"job": spec.name, **vars(runs[spec.name]), "reads": list(spec.inputs),
             "writes": list(spec.outputs), "purpose": spec.purpose} for spec in specs
        ])
        return
    print_table(("job", "state", "version", "uptime", "reads", "writes"), [
        (spec.name, live.state, live.title, duration(live.uptime_s), ", ".join(spec.inputs),
         ", ".join(spec.outputs)) for spec in specs for live in [runs[spec.name]]
    ])


@jobs.command()
@click.argument("name", metavar="JOB")
@json_option
@click.pass_obj
def show(settings: Settings, name: str, *, as_json: bool) -> None:
    """Show what is known of a job: what runs, its state, its limits, how it is upgraded."""
    spec = find_spec(settings.source, name)
    live = _look(settings, [name])[name]
    if as_json:
        print_json({**spec.as_json(), "live": vars(live)})
        return
    click.echo(f"{spec.name} {spec.purpose}.")
    health, policy = spec.health, spec.upgrade
    print_table(("what", "value"), [
        ("now", live.state + (f", version (deployment) {live.title}" if live.title else "")),
        ("reads", ", ".join(spec.inputs)),
        ("execution mode", spec.mode),
        ("maximum parallelism", str(spec.max_parallelism)),
        ("schemas", ", ".join(spec.schemas)),
        ("migration", f"{spec.migration:04d}" if spec.migration else ""),
        ("well if", f"at most {health.max_restarts} restarts, checkpoints every"
                    f" {health.max_checkpoint_age_seconds:.0f} s, less than"
                    f" {health.max_lag:,} messages behind, {health.max_refused:.0%} refused"),
        ("upgrade", f"by {policy.strategy}; good after {policy.checkpoints} checkpoints and"
                    f" {policy.watch_seconds:.0f} s"),
    ])
    click.echo("\nState:")
    print_table(("uid", "form", "what"), [
        (part.uid, ", ".join((part.form, *part.reads)), part.what) for part in spec.state
    ])
    click.echo("\nWrites, and what happens when something is written again:")
    print_table(("where", "harmless", "again"), [
        (output.name, "yes" if output.harmless else "no", output.again)
        for output in spec.writes
    ])


@jobs.command()
@click.argument("name", metavar="JOB")
@json_option
@click.pass_obj
def plan(settings: Settings, name: str, *, as_json: bool) -> None:
    """Draw the operators of a job with their uids, as Flink would run it; starts nothing."""
    spec = find_spec(settings.source, name)
    with open_desk(settings) as desk, progress_line(quiet=as_json) as say:
        say(f"packing the code of {name}")
        tell_left_out(settings.source)
        release = make_release(settings, desk.store, spec, allow_dirty=True)
        say("Flink's client builds its graph")
        graph = desk.place.prepare(release, new_id()).graph()
    if as_json:
        print_json({"job": name, "version": release.version, "archive": release.archive,
                    **graph.as_json()})
    else:
        _draw(graph)


def _draw(graph: Graph) -> None:
    click.echo(f"{graph.mode} mode. Operators with the same number run in one task.")
    if len(graph.operators) > 1 and not any(one.inputs for one in graph.operators):
        click.echo("This version does not tell which of them feeds which.")
    print_table(COLUMNS, [tuple(map(escape, row)) for row in draw(graph)])


def _look(settings: Settings, names: Iterable[str]) -> dict[str, Live]:
    """Look at what runs; a server that is away is no error here."""
    try:
        with FlinkClient(settings.flink_url) as flink:
            found: list[FlinkJob] | None = flink.jobs()
    except SluiceError:
        found = None
    try:
        with Book(settings.timescale_dsn, patience_seconds=0) as book:
            return {name: _live(name, found, Deployments(book)) for name in names}
    except SluiceError:
        return {name: _live(name, found, None) for name in names}


def _live(name: str, found: list[FlinkJob] | None, deployments: Deployments | None) -> Live:
    if found is None:
        last = deployments.live(name) if deployments is not None else None
        return _told(Live(_UNKNOWN), last)
    job = next((one for one in found if one.name == name and not one.is_over), None)
    if job is None:
        return Live("not started")
    uptime = round(datetime.now(UTC).timestamp() - job.started / 1000)
    live = Live(job.state.lower(), job.id, uptime)
    return _told(live, deployments.of_flink_job(job.id) if deployments is not None else None)


def _told(live: Live, deployment: Deployment | None) -> Live:
    if deployment is None:
        return live
    return Live(live.state, live.id, live.uptime_s, deployment.number, deployment.release.version)
