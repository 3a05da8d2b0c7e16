"""`sluice control`: the loop that keeps the jobs as they are wanted."""

import time
from datetime import UTC, datetime

import click

from control.errors import SluiceError
from control.lifecycle.attic import clear_out
from control.lifecycle.loop import look_after
from control.lifecycle.open import open_desk
from control.settings import Settings

_CLEAR_SECONDS = 3600.0


@click.group()
def control() -> None:
    """Keep the jobs as they are wanted."""


@control.command()
@click.option("--every", "seconds", type=click.FloatRange(min=0.1), default=10.0,
              show_default=True, metavar="SECONDS", help="The pause between two looks.")
@click.option("--once", is_flag=True, help="Look once, then end.")
@click.pass_obj
def run(settings: Settings, *, seconds: float, once: bool) -> None:
    """Restart failed jobs, take and delete savepoints as scheduled, until it is stopped.

    A job that failed goes on from the newest state that it left, three times an hour at most; where
    nobody can tell which that is, it is left to a person. Savepoints whose files are gone are
    marked. Archives of code that no deployment needs are deleted after a week. Two of these do not
    get in each other's way.
    """
    cleared = -_CLEAR_SECONDS
    while True:
        try:
            with open_desk(settings) as desk:
                look_after(desk, _say)
                if time.monotonic() - cleared >= _CLEAR_SECONDS:
                    clear_out(desk, _say)
                    cleared = time.monotonic()
        except SluiceError as error:
            if once:
                raise
            _say(f"{error.message} {error.hint}")
        if once:
            return
        time.sleep(seconds)


def _say(text: str) -> None:
    click.echo(f"{datetime.now(UTC):%H:%M:%S} {text}")
