"""`sluice savepoint schedule`: how often one is taken, and which are kept."""

from datetime import timedelta

import click

from control.cli.manner import reason_option
from control.cli.output import duration, json_option, print_json
from control.cli.times import NEVER, Time
from control.lifecycle.deployments import Wanted
from control.lifecycle.keeping import KEEP_COUNT, KEEP_FOR, in_force, is_said
from control.lifecycle.ledger import EventRow
from control.lifecycle.open import Desk, open_desk
from control.lifecycle.words import Desired, Event
from control.settings import Settings

# The database takes no shorter ones: a savepoint takes a while itself.
_LEAST_PAUSE = timedelta(seconds=10)
_LEAST_KEPT = timedelta(minutes=1)


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--every", type=Time(_LEAST_PAUSE, may_be_never=True), metavar="TIME",
              help="For example 30m or 6h, not below 10s; `never` ends it.")
@click.option("--keep", type=click.IntRange(min=1), default=None,
              help=f"So many are kept.  [default: {KEEP_COUNT}]")
@click.option("--keep-for", type=Time(_LEAST_KEPT), metavar="TIME", default=None,
              help=f"Older ones are deleted.  [default: {KEEP_FOR.days}d]")
@reason_option
@json_option
@click.pass_obj
def schedule(
    settings: Settings, name: str, *, every: timedelta | None, keep: int | None,
    keep_for: timedelta | None, reason: str, as_json: bool,
) -> None:
    """Say how often `sluice control run` takes a savepoint, and which it deletes.

    Without --keep and --keep-for only those are deleted that a schedule made; with one of them also
    those of stops, upgrades and trials. Without any option it shows what is in force.
    """
    with open_desk(settings) as desk:
        if every is not None or keep is not None or keep_for is not None:
            _change(desk, name, every, keep, keep_for, reason)
        now = _wanted(desk, name)
        last = next(iter(desk.place.ledger.events(name, limit=1, event=Event.SCHEDULED)), None)
    if as_json:
        print_json(_as_json(now, last))
        return
    click.echo("\n".join(_words(now)))
    if last is not None:
        why = f": {last.reason}" if last.reason else ""
        click.echo(f"Set by {last.who} at {last.at:%Y-%m-%d %H:%M:%S} UTC{why}.")


def _change(
    desk: Desk, name: str, every: timedelta | None, keep: int | None,
    keep_for: timedelta | None, reason: str,
) -> None:
    before = _wanted(desk, name)
    pause = before.savepoint_every if every is None else None if every == NEVER else every
    desk.place.deployments.schedule(
        name, pause, before.keep_count if keep is None else keep, keep_for or before.keep_for
    )
    desk.place.ledger.tell(name, Event.SCHEDULED, " ".join(_words(_wanted(desk, name))),
                           reason=reason)


def _wanted(desk: Desk, name: str) -> Wanted:
    nothing = Wanted(name, Desired.STOPPED, None, None, None)
    return next(iter(desk.place.deployments.wanted(name)), nothing)


def _words(now: Wanted) -> list[str]:
    count, time = in_force(now)
    every = now.savepoint_every
    kept = f"{count} are kept, for {duration(time.total_seconds())}"
    return [
        f"No periodic savepoints of {now.job}. Set them with --every." if every is None else
        f"A savepoint of {now.job} every {duration(every.total_seconds())}. `sluice control run`"
        " takes it.",
        f"Of all but those taken by hand {kept}." if is_said(now) else
        f"Of those that a schedule made {kept}; all others are kept.",
    ]


def _as_json(now: Wanted, last: EventRow | None) -> dict[str, object]:
    count, time = in_force(now)
    return {
        **vars(now), "keep_count": count, "keep_for": time, "keep_is_said": is_said(now),
        "person": last.person if last else None, "host": last.host if last else None,
        "reason": last.reason if last else None, "set_at": last.at.isoformat() if last else None,
    }
