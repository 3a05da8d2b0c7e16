"""Options that choose letters, the same for each command."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

import click

from control.dlq.letter import LetterId, State, parse_id
from control.dlq.wish import Wish, check, parse_moment
from control.errors import MisuseError
from udfs.reasons import Reason, Stage

Command = Callable[..., Any]

_ALL = "all"
_STATES = [state.value for state in State if state is not State.REPLAYING] + [_ALL]

_OPTIONS = (
    click.option("--reason", "reasons", multiple=True, metavar="REASON",
                 type=click.Choice([reason.value for reason in Reason]),
                 help="Only this reason; more than once for several."),
    click.option("--stage", type=click.Choice([stage.value for stage in Stage]),
                 help="Only what stopped at this stage."),
    click.option("--tenant", help="Only this tenant's."),
    click.option("--since", metavar="TIME",
                 help="Only letters from then on: 2026-11-21T07:30 (UTC), or 30m, 6h, 7d ago."),
    click.option("--until", metavar="TIME", help="Only letters before that."),
    click.option("--state", type=click.Choice(_STATES), help="Only letters in this state."),
    click.option("--retriable/--final", default=None,
                 help="Only what may pass once something is mended, or only what may not."),
    click.option("--limit", type=click.IntRange(min=1), help="The newest so many."),
)


def wish_options(command: Command) -> Command:
    """Add the options that choose letters by what they are."""
    return reduce(lambda inner, option: option(inner), reversed(_OPTIONS), command)


def chosen_options(command: Command) -> Command:
    """Add letters by name next to these options."""
    return click.argument("letters", nargs=-1, metavar="[LETTER]...")(wish_options(command))


def wish_from(options: dict[str, Any], default: State | None, now: datetime) -> Wish:
    """Return what the options ask for."""
    state = default
    if options["state"] is not None:
        state = None if options["state"] == _ALL else State(options["state"])
    since, until = (
        None if options[name] is None else parse_moment(options[name], now)
        for name in ("since", "until")
    )
    wish = Wish(
        frozenset(options["reasons"]), options["stage"], options["tenant"], since, until, state,
        options["retriable"], options["limit"],
    )
    check(wish)
    return wish


@dataclass(frozen=True)
class Chosen:
    """Letters by name, or by a wish; never both."""

    ids: tuple[LetterId, ...] = ()
    wish: Wish | None = None

    @classmethod
    def of(cls, options: dict[str, Any], now: datetime) -> "Chosen":
        """Return what was chosen; nothing at all is not taken for everything."""
        given = [name for name, value in options.items()
                 if name != "letters" and value is not None and value != ()]
        if options["letters"]:
            if given:
                message = "Letters were named and filters given."
                raise MisuseError(message, "Use the one or the other.")
            return cls(ids=tuple(parse_id(text) for text in options["letters"]))
        if not given:
            message = "No letter was named, and no filter given."
            raise MisuseError(message, "`--state open` means all open letters.")
        return cls(wish=wish_from(options, State.OPEN, now))
