"""What the commands around replays have in common."""

import click

from control.cli.output import print_json
from control.errors import MisuseError
from control.lifecycle.ledger import Operation
from control.lifecycle.open import Desk
from control.lifecycle.replay_plan import ReplayPlan, replay_plan_from_json
from control.lifecycle.words import Kind


def find_replay(desk: Desk, number: int) -> tuple[Operation, ReplayPlan]:
    """Return a replay and its plan."""
    operation = desk.place.ledger.operation(number)
    if operation is None or operation.kind is not Kind.REPLAY:
        message = f"There is no replay {number}."
        raise MisuseError(message, "`sluice replay list` lists them.")
    return operation, replay_plan_from_json(operation.plan)


def tell(outcome: str, as_json: bool) -> None:
    """Print how it ended."""
    if as_json:
        print_json({"outcome": outcome})
    else:
        click.echo(outcome)
