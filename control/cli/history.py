"""`sluice history`: who did what to a job, when, and how it ended."""

from datetime import datetime
from typing import Any

import click
from rich.markup import escape

from control.cli.deployment_list import print_deployments
from control.cli.output import duration, json_option, print_json, print_table
from control.errors import MisuseError
from control.lifecycle.book import Book
from control.lifecycle.deployments import Deployments
from control.lifecycle.ledger import EventRow, Ledger, Operation, StepRow
from control.settings import Settings

_STYLES = {"done": "green", "failed": "red", "refused": "red", "running": "yellow",
           "undone": "yellow"}


class _JobOrCommand(click.Group):
    """A group whose first word may be a job instead of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take a first word that is no command for the job."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["--job", *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say that a job may stand there."""
        formatter.write_usage(ctx.command_path, "[JOB] [OPTIONS] | show N")


@click.group(cls=_JobOrCommand, invoke_without_command=True)
@click.option("--job", hidden=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--deployments", "of_deployments", is_flag=True,
              help="List what was started instead: what `sluice rollback --to N` goes back to.")
@json_option
@click.pass_context
def history(
    context: click.Context, job: str | None, limit: int, *, of_deployments: bool, as_json: bool
) -> None:
    """List the last operations, of one job or all; `history show N` has all steps of one."""
    if context.invoked_subcommand is not None:
        return
    if of_deployments:
        print_deployments(context.obj, job, limit, as_json=as_json)
        return
    with Book(context.obj.timescale_dsn) as book:
        found = Ledger(book).history(job, limit)
        # Of one that was taken back, the one that runs again is the newest: it is the last here.
        deployments = {one.operation: one.number
                       for one in reversed(Deployments(book).all(job, 1000))}
    if as_json:
        print_json([{**_operation(one), "deployment": deployments.get(one.number)}
                    for one in found])
        return
    print_table(
        ("number", "job", "what", "state", "begun", "took", "deployment", "who", "why",
         "outcome"),
        [(str(one.number), one.job, one.kind.value,
          f"[{_STYLES[one.state]}]{one.state}[/]", _time(one.begun_at), _took(one),
          str(deployments.get(one.number, "")), escape(f"{one.person}@{one.host}"),
          escape(one.reason), escape(one.outcome)) for one in found],
    )


@history.command()
@click.argument("number", type=int)
@json_option
@click.pass_obj
def show(settings: Settings, number: int, *, as_json: bool) -> None:
    """Show one operation: its plan, its steps, what happened."""
    with Book(settings.timescale_dsn) as book:
        ledger = Ledger(book)
        operation = ledger.operation(number)
        if operation is None:
            message = f"There is no operation {number}."
            raise MisuseError(message, "`sluice history` lists them.")
        steps = ledger.steps(number)
        events = ledger.events(operation=number)
    if as_json:
        print_json({**_operation(operation), "plan": operation.plan,
                    "steps": [_step(step) for step in steps],
                    "events": [_event(event) for event in events]})
        return
    click.echo(f"{operation.title}: {operation.state}.")
    if operation.reason:
        click.echo(f"Why: {operation.reason}")
    print_table(("step", "state", "begun", "took", "result"), [
        (step.step.value, f"[{_STYLES.get(step.state, 'yellow')}]{step.state}[/]",
         _time(step.begun_at), duration(_seconds(step.begun_at, step.ended_at)),
         escape(_words(step))) for step in steps
    ])
    for event in events:
        click.echo(f"{_time(event.at)} {event.event}: {event.detail}")
    if operation.outcome:
        click.echo(operation.outcome)


def _operation(one: Operation) -> dict[str, Any]:
    return {
        "number": one.number, "job": one.job, "kind": one.kind, "state": one.state,
        "person": one.person, "host": one.host, "reason": one.reason, "outcome": one.outcome,
        "begun_at": one.begun_at.isoformat(),
        "ended_at": one.ended_at.isoformat() if one.ended_at else None,
    }


def _step(step: StepRow) -> dict[str, Any]:
    return {
        "step": step.step, "state": step.state, "intention": step.intention,
        "result": step.result, "begun_at": step.begun_at.isoformat(),
        "ended_at": step.ended_at.isoformat() if step.ended_at else None,
    }


def _event(event: EventRow) -> dict[str, Any]:
    return {"at": event.at.isoformat(), "job": event.job, "event": event.event,
            "detail": event.detail}


def _words(step: StepRow) -> str:
    return ", ".join(f"{key} {value}" for key, value in (step.result or {}).items()
                     if value is not None)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _took(one: Operation) -> str:
    return duration(_seconds(one.begun_at, one.ended_at))


def _seconds(begun: datetime, ended: datetime | None) -> float | None:
    return (ended - begun).total_seconds() if ended else None
