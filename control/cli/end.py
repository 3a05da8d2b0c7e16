"""`sluice stop`, `cancel`, `resume`: a job is ended; what was left unfinished is finished."""

import click
from rich.console import Console

from control.cli.manner import Manner, reason_option, saying
from control.cli.output import json_option, print_json
from control.errors import RefusedError
from control.lifecycle.ending import EndPlan
from control.lifecycle.open import open_desk
from control.lifecycle.perform import Held, held, where_it_stood
from control.lifecycle.plan import How
from control.lifecycle.words import Kind
from control.settings import Settings


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--drain", is_flag=True,
              help="End for good: windows and timers fire first. Not to be gone on from.")
@reason_option
@json_option
@click.pass_obj
def stop(settings: Settings, name: str, *, drain: bool, reason: str, as_json: bool) -> None:
    """Stop a job with a savepoint; `sluice deploy` goes on from it."""
    _end(settings, EndPlan(name, "", How.SAVEPOINT, drain), Kind.STOP, reason, as_json=as_json)


@click.command()
@click.argument("name", metavar="JOB")
@reason_option
@json_option
@click.pass_obj
def cancel(settings: Settings, name: str, *, reason: str, as_json: bool) -> None:
    """End a job at once, without a savepoint; its last checkpoint is kept."""
    _end(settings, EndPlan(name, "", How.NOTHING), Kind.CANCEL, reason, as_json=as_json)


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--undo", is_flag=True, help="Go back to what ran before, instead of finishing.")
@reason_option
@json_option
@click.pass_obj
def resume(settings: Settings, name: str, *, undo: bool, reason: str, as_json: bool) -> None:
    """Finish an operation that was killed in the middle, or undo it."""
    console = Console(highlight=False, soft_wrap=True)
    manner = Manner(as_json=as_json)
    with (
        open_desk(settings) as desk, held(desk, name, unfinished=True) as hands,
        saying(console, manner) as say,
    ):
        operation = desk.place.ledger.unfinished(name)
        if operation is None:
            _tell(f"Nothing of {name} is unfinished.", None, as_json=as_json)
            return
        if not as_json:
            console.print(where_it_stood(desk.place, operation).message, markup=False)
        outcome = hands.resume(operation, say, undo=undo, reason=reason)
    _tell(outcome, operation.number, as_json=as_json)


def _end(settings: Settings, plan: EndPlan, kind: Kind, reason: str, *, as_json: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    with (
        open_desk(settings) as desk, held(desk, plan.job) as hands,
        saying(console, Manner(as_json=as_json)) as say,
    ):
        flink_job = _there(hands)
        say(f"ending {plan.job}")
        outcome = hands.begin(EndPlan(plan.job, flink_job, plan.how, plan.drain), kind, reason,
                              say)
    _tell(outcome, None, as_json=as_json)


def _there(hands: Held) -> str:
    live = hands.live()
    if live is None:
        message = f"{hands.job} does not run: there is nothing to end."
        raise RefusedError(message, "`sluice status` shows what runs.")
    return live.id


def _tell(outcome: str, operation: int | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"outcome": outcome, "operation": operation})
    else:
        click.echo(outcome)
