"""`sluice savepoint`: take, list, show, verify, dispose."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click
from rich.markup import escape

from control.cli.manner import reason_option
from control.cli.output import duration, json_option, print_json, print_table, progress_line
from control.cli.savepoint_schedule import schedule
from control.errors import RefusedError, SluiceError
from control.lifecycle.ledger import EventRow
from control.lifecycle.open import Desk, open_desk
from control.lifecycle.perform import held
from control.lifecycle.proof import prove_restore
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.snapshots import dispose_savepoint, take_savepoint, verify_savepoint
from control.lifecycle.states import writer_of
from control.lifecycle.words import Origin, SavepointState
from control.savepoint_metadata import OperatorState, read_metadata
from control.settings import Settings
from control.stack.context import open_stack
from jobs.spec import spec_from_json

_STYLES = {"there": "green", "pending": "yellow", "failed": "red", "lost": "red",
           "disposed": "dim"}
_DISPOSED = {
    SavepointState.DISPOSED: "is deleted",
    SavepointState.LOST: "was gone before: Flink found no files of it. It is marked as lost",
}


@click.group()
def savepoint() -> None:
    """Look after savepoints: snapshots of a job's state that a new version goes on from."""


savepoint.add_command(schedule)


@savepoint.command()
@click.argument("name", metavar="JOB")
@reason_option
@json_option
@click.pass_obj
def create(settings: Settings, name: str, *, reason: str, as_json: bool) -> None:
    """Take a savepoint of a running job; it runs on."""
    with open_desk(settings) as desk, progress_line(quiet=as_json) as say:
        live = desk.place.eyes.flink.live_job(name)
        if live is None:
            message = f"{name} does not run: there is nothing to take a savepoint of."
            raise RefusedError(message, "`sluice status` shows what runs.")
        say(f"taking a savepoint of {name}")
        taken = take_savepoint(desk.place, name, live.id, Origin.MANUAL, reason=reason)
        version = _version(desk, taken)
    if as_json:
        print_json(_as_json(taken, version))
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
        # Several of one Flink job are of one version.
        writers = {one.flink_job: one for one in found}
        versions = {job: _version(desk, one) for job, one in writers.items()}
    if as_json:
        print_json([_as_json(one, versions[one.flink_job]) for one in found])
        return
    now = datetime.now(UTC)
    print_table(
        ("number", "job", "version", "state", "age", "bytes", "origin", "deployment", "verified",
         "path"),
        [(str(one.number), one.job, versions[one.flink_job] or "",
          f"[{_STYLES[one.state]}]{one.state}[/]",
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
    """Show what a savepoint holds: each operator, its state, its size; and who did what to it."""
    with open_desk(settings) as desk:
        one = _find(desk, number)
        version, forms = _version(desk, one), _forms(desk, one)
        events = desk.place.ledger.events(savepoint=number)
    if one.path is None:
        message = f"Savepoint {number} is {one.state}: {one.note}"
        raise RefusedError(message, "`sluice savepoint list` shows those that are there.")
    found = read_metadata(open_stack(settings).context, one.path)
    if as_json:
        operators = [{**vars(part), "form": _form(part, forms)} for part in found.operators]
        print_json({**_as_json(one, version), "operators": operators, "files": len(found.files),
                    "size": found.size, "events": [_event(event) for event in events]})
        return
    click.echo(f"Savepoint {number} of {one.job}, {one.origin}, {one.begun_at:%Y-%m-%d %H:%M:%S}"
               f" UTC: {one.path}\n{len(found.files)} files, {found.size:,} bytes"
               f" ({found.format or found.kind or 'unknown'}), written by version"
               f" {version or 'unknown'}.")
    print_table(("operator", "form", "parallelism", "maximum", "bytes", "keyed", "states"), [
        (escape(part.label), escape(_form(part, forms) or ""), str(part.parallelism),
         str(part.max_parallelism), f"{part.bytes:,}", f"{part.keyed_bytes:,}",
         escape(", ".join((*(part.keyed_states or ()), *part.operator_states))))
        for part in found.operators
    ])
    for event in events:
        who = f" by {event.who}" if event.who else ""
        why = f", because: {event.reason}" if event.reason else ""
        click.echo(f"{event.at:%Y-%m-%d %H:%M:%S} {event.event}{who}{why} ({event.detail})")


@savepoint.command()
@click.argument("number", type=int)
@click.option("--restore", is_flag=True,
              help="Also start the job from it, against a sink that writes nothing.")
@reason_option
@json_option
@click.pass_obj
def verify(
    settings: Settings, number: int, *, restore: bool, reason: str, as_json: bool
) -> None:
    """Prove that a savepoint can be read and that all of its files are there."""
    with open_desk(settings) as desk, progress_line(quiet=as_json) as say:
        one = _find(desk, number)
        say("reading it")
        found = verify_savepoint(desk.place, open_stack(settings).context, one, reason=reason)
        if restore:
            # One at a time; the live job may be operated meanwhile.
            with held(desk, f"{one.job}-verify"):
                prove_restore(desk.place, one, found, say, reason=reason)
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
@reason_option
@json_option
@click.pass_obj
def dispose(
    settings: Settings, numbers: tuple[int, ...], *, reason: str, as_json: bool
) -> None:
    """Delete savepoints.

    Never the newest, the last one verified, nor one that an operation or one of the last three
    deployments needs; nor while somebody else operates the job.
    """
    done = []
    try:
        with open_desk(settings) as desk:
            for number in numbers:
                # Nobody may be about to start from it.
                with held(desk, _find(desk, number).job):
                    state = dispose_savepoint(desk.place, _find(desk, number), reason=reason)
                done.append({"number": number, "state": state})
                if not as_json:
                    click.echo(f"Savepoint {number} {_DISPOSED[state]}.")
    finally:
        # Also of those before the one that was refused.
        if as_json:
            print_json(done)


def _find(desk: Desk, number: int) -> Savepoint:
    found = desk.place.savepoints.get(number)
    if found is None:
        message = f"There is no savepoint {number}."
        raise SluiceError(message, "`sluice savepoint list --all` lists them.")
    return found


def _version(desk: Desk, one: Savepoint) -> str | None:
    deployment = writer_of(desk.place, one)
    return deployment.release.version if deployment is not None else None


def _forms(desk: Desk, one: Savepoint) -> dict[str, str]:
    """Return the forms in which the code that wrote a savepoint keeps its state, by uid."""
    deployment = writer_of(desk.place, one)
    if deployment is None:
        return {}
    return {part.uid: part.form for part in spec_from_json(deployment.release.spec).state}


def _form(part: OperatorState, forms: Mapping[str, str]) -> str | None:
    # A sink's committer has no uid, and is called "Sink Committer: answers".
    return forms.get(part.uid or "") or forms.get((part.name or "").rpartition(": ")[2])


def _as_json(one: Savepoint, version: str | None) -> dict[str, Any]:
    return {**vars(one), "begun_at": one.begun_at.isoformat(), "version": version}


def _event(event: EventRow) -> dict[str, Any]:
    return {"at": event.at.isoformat(), "event": event.event, "detail": event.detail,
            "person": event.person, "host": event.host, "reason": event.reason}
