"""How a command that changes jobs goes about it: what it asks, what it says, how it refuses."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from control.cli.output import print_json, print_table
from control.errors import MisuseError, RefusedError, SluiceError
from control.lifecycle.preflight import Check, Verdict
from control.lifecycle.run import Say

reason_option = click.option("--reason", default="", help="Why; kept in the history.")

_STYLES = {Verdict.GOOD: "green", Verdict.WARNING: "yellow", Verdict.BAD: "red"}
_NO_PLAN: Mapping[str, Any] = {"plan": None, "checks": []}


@dataclass(frozen=True)
class Manner:
    """How a command goes about it."""

    reason: str = ""
    dry_run: bool = False
    # Ask nothing.
    yes: bool = False
    as_json: bool = False


class ChecksRefusedError(RefusedError):
    """Checks said no; what was planned and checked is told with it."""

    def __init__(
        self, what: str, plan: Mapping[str, Any], checks: Sequence[Check], bad: Sequence[Check]
    ) -> None:
        found = "; ".join(f"{check.name}: {check.found}" for check in bad)
        ways = ([check.way_out for check in bad] if len(bad) == 1
                else [f"{check.name}: {check.way_out}" for check in bad if check.way_out])
        super().__init__(f"{what} is refused: {found}.", " ".join(ways))
        self.told = {"plan": plan, "checks": [vars(check) for check in checks]}


def refuse_bad(what: str, plan: Mapping[str, Any], checks: Sequence[Check]) -> None:
    """Refuse what a check found bad, naming all of them."""
    bad = [check for check in checks if check.verdict is Verdict.BAD]
    if bad:
        raise ChecksRefusedError(what, plan, checks, bad)


@contextmanager
def telling_failures(manner: Manner) -> Iterator[None]:
    """Print why it was refused, or failed, as JSON, too, where a program reads what is printed."""
    try:
        yield
    except MisuseError:
        raise
    except SluiceError as error:
        if manner.as_json:
            told = error.told if isinstance(error, ChecksRefusedError) else _NO_PLAN
            how = "refused" if isinstance(error, RefusedError) else "failed"
            print_json({**told, how: error.message, "hint": error.hint})
        raise


def ask(what: str, manner: Manner, hint: str = "Say --yes.") -> None:
    """Ask whether to go on; without a person to ask, only --yes does."""
    if manner.yes:
        return
    if manner.as_json or not sys.stdin.isatty():
        raise _nobody(what, manner, hint)
    click.confirm("Go on?", abort=True)


def require_yes(what: str, manner: Manner) -> None:
    """Refuse early what would have to ask in the middle of JSON."""
    if manner.as_json and not manner.yes and not manner.dry_run:
        raise _nobody(what, manner, "Say --yes, or --dry-run to see the plan only.")


def _nobody(what: str, manner: Manner, hint: str) -> MisuseError:
    why = ": --json prints JSON and asks nothing" if manner.as_json else ""
    return MisuseError(f"Nobody can be asked whether to {what}{why}.", hint)


@contextmanager
def saying(console: Console, manner: Manner) -> Iterator[Say]:
    """Show progress: one line on a terminal, a line for each news elsewhere."""
    if manner.as_json:
        yield lambda _: None
    elif console.is_terminal:
        with console.status("looking") as status:
            yield lambda text: status.update(escape(text))
    else:
        last = [""]

        def say(text: str) -> None:
            # What is being waited for changes with every look; its first word does not.
            if text.split(maxsplit=1)[0] != last[0]:
                last[0] = text.split(maxsplit=1)[0]
                console.print(escape(text))

        yield say


def show_checks(checks: Sequence[Check]) -> None:
    """Print how checks ended, if there are any."""
    if checks:
        print_table(("check", "verdict", "found", "what to do"), [
            (check.name, f"[{_STYLES[check.verdict]}]{check.verdict}[/]", escape(check.found),
             escape(check.way_out)) for check in checks
        ])
