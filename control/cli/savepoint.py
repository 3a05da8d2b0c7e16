"""`sluice savepoint`: take, list, show, verify, dispose; how often, and how many are kept."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.markup import escape

from control.cli.output import duration, json_option, print_json, print_table, progress_line
from control.errors import MisuseError, RefusedError, SluiceError
from control.lifecycle.open import Desk, open_desk
from control.lifecycle.perform import held
from control.lifecycle.proof import prove_restore
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.snapshots import dispose_savepoint, take_savepoint, verify_savepoint
from control.lifecycle.words import Origin
from control.savepoint_metadata import read_metadata
from control.settings import Settings
from control.stack.context import open_stack

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_STYLES = {"there": "green", "pending": "yellow", "failed": "red", "lost": "red",
           "disposed": "dim"}


@click.group()
def savepoint() -> None:
    """Look after savepoints: snapshots of a job's state that a new version goes on from."""


@savepoint.command()
@click.argument("name", metavar="JOB")
@json_option
@click.pass_obj
def create(settings: Settings, name: str, *, as_json: bool) -> None:
    """Take a savepoint of a running job; it runs on."""
    with open_desk(settings) as desk, progress_line(quiet=as_json) as say:
        live = desk.place.eyes.flink.live_job(name)
        if live is None:
            message = f"{name} does not run: there is nothing to take a savepoint of."
            raise RefusedError(message, "`sluice status` shows what runs.")
        say(f"taking a savepoint of {name}")
        taken = take_savepoint(desk.place, name, live.id, Origin.MANUAL)
    if as_json:
        print_json(_as_json(taken))
    else:
        size = f", {taken.size:,} bytes" if taken.size is not None else ""
        click.echo(f"Savepoint {taken.number} of {name}{size}: {taken.path}")


@savepoint.command("list")
@click.argument("name", metavar="[JOB]", required=False)
@click.option("--all", "everything", is_flag=True, help="Those that are gone, too.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@click.pass_obj
def list_savepoints(
    settings: Settings, name: str | None, *, everything: bool, limit: int, as_json: bool
) -> None:
    """List savepoints, the newest first."""
    with open_desk(settings) as desk:
        found = desk.place.savepoints.all(name, limit, there_only=not everything)
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    now = datetime.now(UTC)
    print_table(
        ("number", "job", "state", "age", "bytes", "origin", "deployment", "verified", "path"),
        [(str(one.number), one.job, f"[{_STYLES[one.state]}]{one.state}[/]",
          duration((now - one.begun_at).total_seconds()),
          f"{one.size:,}" if one.size is not None else "", one.origin.value,
          str(one.deployment or ""), one.verified, escape(one.path or one.note))
         for one in found],
    )


@savepoint.command()
@click.argument("number", type=int)
@json_option
@click.pass_obj
def show(settings: Settings, number: int, *, as_json: bool) -> None:
    """Show what a savepoint holds: each operator, its state, its size."""
    with open_desk(settings) as desk:
        one = _find(desk, number)
    if one.path is None:
        message = f"Savepoint {number} is {one.state}: {one.note}"
        raise RefusedError(message, "`sluice savepoint list` shows those that are there.")
    found = read_metadata(open_stack(settings).context, one.path)
    if as_json:
        print_json({**_as_json(one), "operators": [vars(part) for part in found.operators],
                    "files": len(found.files), "size": found.size})
        return
    click.echo(f"Savepoint {number} of {one.job}, {one.origin}, {one.begun_at:%Y-%m-%d %H:%M:%S}"
               f" UTC: {one.path}\n{len(found.files)} files, {found.size:,} bytes"
               f" ({found.format or found.kind or 'unknown'}).")
    print_table(("operator", "parallelism", "maximum", "bytes", "keyed", "states"), [
        (escape(part.label), str(part.parallelism), str(part.max_parallelism),
         f"{part.bytes:,}", f"{part.keyed_bytes:,}",
         escape(", ".join((*(part.keyed_states or ()), *part.operator_states))))
        for part in found.operators
    ])


@savepoint.command()
@click.argument("number", type=int)
@click.option("--restore", is_flag=True,
              help="Also start the job from it, against a sink that writes nothing.")
@json_option
@click.pass_obj
def verify(settings: Settings, number: int, *, restore: bool, as_json: bool) -> None:
    """Prove that a savepoint can be read and that all of its files are there."""
    with open_desk(settings) as desk, progress_line(quiet=as_json) as say:
        one = _find(desk, number)
        say("reading it")
        found = verify_savepoint(desk.place, open_stack(settings).context, one)
        if restore:
            # One at a time; the live job may be operated meanwhile.
            with held(desk, f"{one.job}-verify"):
                prove_restore(desk.place, one, found, say)
    if as_json:
        print_json({"number": number, "operators": len(found.operators), "restored": restore,
                    "files": len(found.files), "unseen": found.unseen, "size": found.size})
        return
    click.echo(f"Savepoint {number} is whole: {len(found.operators)} operators,"
               f" {len(found.files)} files, {found.size:,} bytes.")
    if found.unseen:
        click.echo(f"Of {found.unseen} files this machine cannot see more than the address.")
    if restore:
        click.echo("The job started from it and completed a checkpoint; it wrote nothing.")


@savepoint.command()
@click.argument("numbers", type=int, nargs=-1, required=True)
@click.pass_obj
def dispose(settings: Settings, numbers: tuple[int, ...]) -> None:
    """Delete savepoints; never the newest, nor one that a deployment or operation needs."""
    with open_desk(settings) as desk:
        for number in numbers:
            dispose_savepoint(desk.place, _find(desk, number))
            click.echo(f"Savepoint {number} is deleted.")


@savepoint.command()
@click.argument("name", metavar="JOB")
@click.option("--every", metavar="TIME", help="For example 30m or 6h; `never` ends it.")
@click.option("--keep", type=click.IntRange(min=1), default=None,
              help="So many of them are kept.  [default: 5]")
@click.option("--keep-for", metavar="TIME", default=None,
              help="Older ones are deleted.  [default: 14d]")
@json_option
@click.pass_obj
def schedule(
    settings: Settings, name: str, *, every: str | None, keep: int | None,
    keep_for: str | None, as_json: bool,
) -> None:
    """Say how often `sluice control run` takes a savepoint, and which it deletes."""
    with open_desk(settings) as desk:
        before = next(iter(desk.place.deployments.wanted(name)), None)
        if every is not None or keep is not None or keep_for is not None:
            desk.place.deployments.schedule(
                name,
                _pause(every, before.savepoint_every if before else None),
                keep or (before.keep_count if before else 5),
                _time(keep_for) if keep_for else (
                    before.keep_for if before else timedelta(days=14)),
            )
        now = next(iter(desk.place.deployments.wanted(name)), None)
    if as_json:
        print_json(None if now is None else vars(now))
    elif now is None or now.savepoint_every is None:
        click.echo(f"No periodic savepoints of {name}. Set them with --every.")
    else:
        click.echo(
            f"A savepoint of {name} every {duration(now.savepoint_every.total_seconds())};"
            f" {now.keep_count} are kept, for {duration(now.keep_for.total_seconds())}."
            " `sluice control run` does it."
        )


def _pause(text: str | None, before: timedelta | None) -> timedelta | None:
    if text is None:
        return before
    return None if text == "never" else _time(text)


def _time(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if found is None:
        message = f"{text} is no time."
        raise MisuseError(message, "For example 90s, 30m, 6h or 14d.")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _find(desk: Desk, number: int) -> Savepoint:
    found = desk.place.savepoints.get(number)
    if found is None:
        message = f"There is no savepoint {number}."
        raise SluiceError(message, "`sluice savepoint list --all` lists them.")
    return found


def _as_json(one: Savepoint) -> dict[str, Any]:
    return {**vars(one), "begun_at": one.begun_at.isoformat()}
