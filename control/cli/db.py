"""`sluice db`: the tables."""

import click
from rich.console import Console

from control.cli.output import json_option, print_json, print_table
from control.db import maintenance, migrations
from control.errors import ExitCode
from control.settings import Settings, public


@click.group()
def db() -> None:
    """Migrate and maintain TimescaleDB, or the PostgreSQL that stands in for it."""


@db.command()
@click.pass_obj
def migrate(settings: Settings) -> None:
    """Apply the migrations that are not applied yet."""
    console = Console(soft_wrap=True, highlight=False)
    applied = migrations.migrate(
        settings.timescale_dsn, report=lambda migration: console.print(f"  {migration.file} ...")
    )
    done = f"{len(applied)} migrations applied" if applied else "Nothing to migrate"
    console.print(f"{done} at {public(settings.timescale_dsn)}.")


@db.command()
@json_option
@click.pass_obj
def status(settings: Settings, as_json: bool) -> int:
    """Compare the migrations here with the database; exit code 1 when they differ."""
    branch, entries = migrations.status(settings.timescale_dsn)
    if as_json:
        print_json([{**vars(entry), "branch": branch.value} for entry in entries])
    else:
        print_table(
            ("number", "file", "state", "applied", "problem"),
            [(f"{entry.number:04d}", entry.file, entry.state, entry.applied_at or "",
              f"[red]{entry.problem}[/]" if entry.problem else "") for entry in entries],
        )
        kind = "TimescaleDB" if branch is migrations.Branch.TIMESCALE else "plain PostgreSQL"
        click.echo(f"The database is {kind}.")
    good = all(entry.state == "applied" and not entry.problem for entry in entries)
    return ExitCode.DONE if good else ExitCode.FAILED


@db.command()
@json_option
@click.pass_obj
def maintain(settings: Settings, as_json: bool) -> int:
    """Run compression, refresh and retention once, as a scheduler would."""
    def report(task: maintenance.Task) -> None:
        if not as_json:
            click.echo(f"  {task.name} {task.table}: {task.result} ({task.seconds:.1f} s)")

    done = maintenance.maintain(settings.timescale_dsn, report)
    if as_json:
        print_json([vars(task) for task in done])
    elif not done:
        click.echo("There is nothing to maintain yet: no table has a policy.")
    failed = any(task.result.startswith("failed") for task in done)
    return ExitCode.FAILED if failed else ExitCode.DONE
