"""`sluice replay compare`, `swap`, `drop`: what a replay wrote beside the live job."""

import click

from control.cli.manner import Manner, ask, reason_option, telling_failures
from control.cli.output import json_option, print_json, print_table, progress_line
from control.cli.replay_words import find_replay, tell
from control.database import Connection
from control.errors import ExitCode, RefusedError
from control.lanes.closing import ReplayOutlets
from control.lanes.compare import compare_lane
from control.lanes.swap import SwapFindings, swap_lane, swaps_cut_off
from control.lifecycle.ledger import TELL
from control.lifecycle.open import Desk, open_desk
from control.lifecycle.perform import held
from control.lifecycle.replay_plan import ReplayPlan
from control.lifecycle.words import Event, OperationState, because
from control.reconcile.span import moment
from control.settings import Settings
from jobs.lane import Into, Lane

# Kafka's producers try for two minutes; the rest is for clocks that differ.
_MARGIN_SECONDS = 130

_margin_option = click.option(
    "--margin", type=click.FloatRange(min=0), default=_MARGIN_SECONDS, show_default=True,
    metavar="SECONDS", help="Left out at both ends of the span of a store: so long after its"
                            " cleaning an event may have come into Kafka.",
)


@click.command()
@click.argument("number", type=int)
@_margin_option
@json_option
@click.pass_obj
def compare(settings: Settings, number: int, *, margin: float, as_json: bool) -> int:
    """Compare a shadow with what is live, record by record. Exit code 0 only when it is equal."""
    with open_desk(settings) as desk, progress_line(quiet=as_json) as say:
        plan, lane = _shadow(desk, number)
        found = compare_lane(settings, plan.spec, lane, *plan.certain(margin), say)
    if as_json:
        print_json([one.as_json() for one in found])
    else:
        print_table(("output", "live", "shadow", "only live", "only shadow", "different",
                     "verdict"), [
            (one.output, f"{one.live:,}", f"{one.shadow:,}", f"{one.only_live.count:,}",
             f"{one.only_shadow.count:,}", f"{one.different.count:,}",
             "[green]equal[/]" if one.equal else "[red]differs[/]") for one in found
        ])
    return ExitCode.DONE if all(one.equal for one in found) else ExitCode.FAILED


@click.command()
@click.argument("number", type=int)
@_margin_option
@click.option("--yes", is_flag=True, help="Ask nothing.")
@reason_option
@json_option
@click.pass_obj
def swap(
    settings: Settings, number: int, *, margin: float, yes: bool, reason: str, as_json: bool
) -> None:
    """Exchange what is live of the span with what a shadow holds."""
    manner = Manner(reason, yes=yes, as_json=as_json)
    with telling_failures(manner), open_desk(settings) as desk:
        job = find_replay(desk, number)[0].job
        with held(desk, job):
            plan, lane = _shadow(desk, number)
            first, end = plan.certain(margin)
            if not as_json:
                click.echo(f"What is live of {', '.join(plan.spec.outputs)} from"
                           f" {moment(first)} to {moment(end)} changes places with what replay"
                           f" {number} wrote.")
                _tell_what_was(desk, plan, lane, number)
            ask(f"swap replay {number}", manner)
            with progress_line(quiet=as_json) as say:
                found = swap_lane(
                    settings, plan.spec, lane, first, end, say,
                    lambda connection, one: _note(connection, job, number, one, reason),
                )
    if as_json:
        print_json([one.as_json() for one in found])
        return
    print_table(("output", "into live", "out of live", "held back"), [
        (one.output, f"{one.to_live:,}", f"{one.to_shadow:,}", f"{one.held_back:,}")
        for one in found
    ])


@click.command()
@click.argument("number", type=int)
@reason_option
@json_option
@click.pass_obj
def drop(settings: Settings, number: int, *, reason: str, as_json: bool) -> None:
    """Delete what a replay wrote into its shadow."""
    with open_desk(settings) as desk:
        job = find_replay(desk, number)[0].job
        with held(desk, job):
            plan, lane = _shadow(desk, number)
            ReplayOutlets(settings, desk.place, plan).remove(lane)
            outcome = f"What replay {number} of {plan.job} wrote into its shadow is deleted."
            desk.place.ledger.tell(job, Event.DROPPED, because(outcome, reason), number)
    tell(outcome, as_json)


def _note(
    connection: Connection, job: str, number: int, one: SwapFindings, reason: str
) -> None:
    end = ", the end of a swap that was cut off" if one.finished else ""
    detail = f"{one.output}: {one.to_live:,} into live, {one.to_shadow:,} out of it{end}"
    connection.execute(
        TELL.encode(), [job, number, Event.SWAPPED.value, because(detail, reason)]
    )


def _tell_what_was(desk: Desk, plan: ReplayPlan, lane: Lane, number: int) -> None:
    """Say what a swap does where there was one before."""
    cut_off = swaps_cut_off(desk.settings, plan.spec, lane)
    if cut_off:
        click.echo(f"A swap of {', '.join(cut_off)} was cut off: this finishes it.")
        return
    for event in desk.place.ledger.events(operation=number):
        if event.event is Event.SWAPPED:
            click.echo(f"Once more brings back what was: {event.at:%Y-%m-%d %H:%M:%S}"
                       f" UTC {event.detail}.")


def _shadow(desk: Desk, number: int) -> tuple[ReplayPlan, Lane]:
    """Return a replay whose shadow is there and written to no more."""
    operation, plan = find_replay(desk, number)
    if plan.into is not Into.SHADOW:
        message = f"Replay {number} of {plan.job} wrote into {plan.into}: it has no shadow."
        raise RefusedError(message, "`sluice reconcile` compares what is live.")
    if not operation.state.is_over:
        message = f"Replay {number} of {plan.job} is not over."
        raise RefusedError(message, f"`sluice replay resume {number}` waits for it.")
    dropped = any(event.event is Event.DROPPED
                  for event in desk.place.ledger.events(operation=number))
    finished = any(event.event is Event.FINISHED
                   for event in desk.place.ledger.events(operation=number))
    if dropped or not finished or operation.state is OperationState.UNDONE:
        message = f"What replay {number} of {plan.job} wrote is not there: it was deleted."
        raise RefusedError(message, "`sluice replay list` shows the others.")
    return plan, plan.lane(number)
