"""`sluice jobs`: what jobs there are, what is known of them, what Flink would make of them."""

from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import click
from rich.markup import escape

from control.cli.output import duration, json_option, print_json, print_table, progress_line
from control.flink import FlinkClient
from control.lifecycle.decide import new_id
from control.lifecycle.graph import Graph
from control.lifecycle.open import open_desk
from control.lifecycle.releases import find_spec, make_release, read_specs
from control.settings import Settings


@click.group()
def jobs() -> None:
    """Show the jobs of the product."""


@jobs.command("list")
@json_option
@click.pass_obj
def list_jobs(settings: Settings, *, as_json: bool) -> None:
    """List every job, and whether it runs."""
    with FlinkClient(settings.flink_url) as flink:
        rows: list[dict[str, Any]] = []
        now = datetime.now(UTC).timestamp()
        for job in read_specs(settings.source).values():
            live = flink.live_job(job.name)
            rows.append({
                "job": job.name,
                "state": live.state.lower() if live else "not started",
                "id": live.id if live else None,
                "uptime_s": round(now - live.started / 1000) if live else None,
                "reads": list(job.inputs),
                "writes": list(job.outputs),
                "purpose": job.purpose,
            })
    if as_json:
        print_json(rows)
        return
    print_table(("job", "state", "uptime", "reads", "writes"), [
        (row["job"], row["state"], duration(row["uptime_s"]), ", ".join(row["reads"]),
         ", ".join(row["writes"])) for row in rows
    ])


@jobs.command()
@click.argument("name", metavar="JOB")
@json_option
@click.pass_obj
def show(settings: Settings, name: str, *, as_json: bool) -> None:
    """Show what is known of a job: its state, its limits, how it is upgraded."""
    spec = find_spec(settings.source, name)
    if as_json:
        print_json(spec.as_json())
        return
    click.echo(f"{spec.name} {spec.purpose}.")
    health, policy = spec.health, spec.upgrade
    print_table(("what", "value"), [
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
        release = make_release(settings, desk.store, spec, allow_dirty=True)
        say("Flink's client builds its graph")
        graph = desk.place.prepare(release, new_id()).graph()
    if as_json:
        print_json({"job": name, "version": release.version, "archive": release.archive,
                    **graph.as_json()})
    else:
        _draw(graph)


def _draw(graph: Graph) -> None:
    click.echo(f"{graph.mode} mode. Operators of one box run in one task.")
    print_table(("task", "operator", "uid", "parallelism", "maximum", "id"), [
        (escape(vertex) if not place else "", escape(one.name), escape(one.uid or "none"),
         str(one.parallelism), str(one.max_parallelism), one.id)
        for vertex, operators in groupby(graph.operators, lambda one: one.vertex)
        for place, one in enumerate(operators)
    ])
