"""What the commands around dead letters print."""

from typing import Any

import click

from control.dlq.plan import Plan
from control.dlq.replay import Outcome
from control.dlq.settle import Settled


def print_plan(plan: Plan, done: str, *, dry_run: bool = False) -> None:
    """Print what is to be done."""
    would = "would be" if dry_run else "are to be"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in plan.reasons.most_common())
    click.echo(f"{plan.count:,} letters {would} {done}{': ' if reasons else ''}{reasons}.")
    print_left_out(plan)


def print_left_out(plan: Plan) -> None:
    """Print how many letters are not taken, and why."""
    for verdict, count in plan.left_out.items():
        click.echo(f"Left out: {count:,}, {verdict.description}.")


def print_outcome(outcome: Outcome, plan: Plan) -> None:
    """Print how a replay ended."""
    begin = "Interrupted: " if outcome.interrupted else ""
    click.echo(f"{begin}{outcome.sent:,} of {plan.count:,} letters were sent again.")
    print_left_out(plan)
    for verdict, count in outcome.left_out.items():
        click.echo(f"Left out meanwhile: {count:,}, {verdict.description}.")
    if outcome.gone:
        click.echo(f"Gone meanwhile: {outcome.gone:,}, their retention has ended.")
    if outcome.refused:
        click.echo(f"Refused again by their store: {outcome.refused:,}; they stay open.")
    if outcome.interrupted:
        click.echo("The same command goes on with the rest.")
    elif outcome.sent:
        click.echo("What ingest refuses again comes back as a new letter: `sluice dlq list`.")


def replay_json(
    plan: Plan, settled: Settled, outcome: Outcome | None, *, dry_run: bool
) -> dict[str, Any]:
    """Return how a replay ended, for a machine."""
    return {
        "dry_run": dry_run, "planned": plan.count, "reasons": dict(plan.reasons),
        "left_out": {verdict.value: count for verdict, count in plan.left_out.items()},
        "settled": vars(settled),
        "operation": None if outcome is None else outcome.operation,
        "sent": 0 if outcome is None else outcome.sent,
        "refused": 0 if outcome is None else outcome.refused,
        "gone": 0 if outcome is None else outcome.gone,
        "interrupted": outcome is not None and outcome.interrupted,
    }
