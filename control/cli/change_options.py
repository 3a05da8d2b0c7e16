"""The options of `deploy`, `upgrade`, `rollback` and `scale`, and what they mean."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from control.cli.manner import Manner, reason_option
from control.cli.output import json_option
from control.lifecycle.decide import Wish
from control.lifecycle.plan import How

F = TypeVar("F", bound=Callable[..., Any])


def change_options(command: F) -> F:
    """Add the options that all changes have."""
    for option in reversed((
        reason_option,
        click.option("--dry-run", is_flag=True, help="Print the plan and touch nothing."),
        click.option("--yes", is_flag=True, help="Ask nothing."),
        click.option("--allow-dropped", is_flag=True,
                     help="Give up state that has no place in the new version."),
        click.option("--allow-unknown", is_flag=True,
                     help="Go on from state although nobody knows which code wrote it."),
        click.option("--watch", "watch_seconds", type=click.FloatRange(min=0), default=None,
                     help="Seconds that the new version is watched; default: the job's policy."),
        json_option,
    )):
        command = option(command)
    return command


strategy_option = click.option(
    "--strategy", type=click.Choice([How.SAVEPOINT.value, How.LAST_CHECKPOINT.value]),
    default=How.SAVEPOINT.value, show_default=True,
    help="What runs is stopped with a savepoint; or cancelled, to go on from its last checkpoint.",
)
max_age_option = click.option(
    "--max-age", type=click.FloatRange(min=0), metavar="SECONDS",
    help="How old the last checkpoint may be with --strategy last-state.",
)

max_refused_option = click.option(
    "--max-refused", type=click.FloatRange(0, 1), metavar="SHARE",
    help="The share that the new version may refuse, or twice what the one before it refused,"
         " whichever is more.  [default: the job's policy]",
)


def manner_of(options: dict[str, Any]) -> Manner:
    """Return how the command goes about it."""
    return Manner(options["reason"], bool(options["dry_run"]), bool(options["yes"]),
                  bool(options["as_json"]))


def wish_of(options: dict[str, Any]) -> Wish:
    """Return what was asked for beyond the command itself."""
    strategy = options.get("strategy")
    return Wish(
        how=How(strategy) if strategy in list(How) else How.SAVEPOINT,
        start_from=options.get("savepoint"), fresh=bool(options.get("fresh")),
        allow_dropped=bool(options["allow_dropped"]),
        allow_unknown=bool(options["allow_unknown"]),
        watch_seconds=options["watch_seconds"], max_age_seconds=options.get("max_age"),
        max_refused=options.get("max_refused"),
    )
