"""`sluice reconcile`: prove that nothing is lost or doubled."""

from datetime import UTC, datetime

import click

from control.cli.output import json_option, print_json, print_table, progress_line
from control.dlq.wish import parse_moment
from control.errors import ExitCode, MisuseError
from control.reconcile.findings import StoreFindings, Verdict
from control.reconcile.run import STORES
from control.reconcile.run import reconcile as compare
from control.reconcile.span import moment
from control.settings import Settings


@click.command()
@click.option("--from", "since", metavar="TIME",
              help="Only events cleaned from then on: 2026-11-21T12:00, or 3h, 2d ago.")
@click.option("--to", "until", metavar="TIME", help="Only events cleaned before that.")
@click.option("--store", "stores", multiple=True, type=click.Choice(STORES),
              help="Only this one.  [default: all]")
@click.option("--repair", is_flag=True, help="Write again what is missing or different.")
@json_option
@click.pass_obj
def reconcile(
    settings: Settings, since: str | None, until: str | None, stores: tuple[str, ...], *,
    repair: bool, as_json: bool,
) -> int:
    """Compare the stores with events.clean, event by event where sums differ.

    Looks at committed events, by the time at which ingest let them pass, as far as the jobs have
    surely written; they may go on meanwhile. What a store has refused and put into events.dlq is
    not missed there. Exit code 0 only when every store holds exactly what was committed.
    """
    now = datetime.now(UTC)
    first, end = (None if text is None else parse_moment(text, now) for text in (since, until))
    if first is not None and first >= (end or now):
        message = "--from is not before --to, or not in the past."
        raise MisuseError(message, "--from is the older of the two.")
    with progress_line(quiet=as_json) as say:
        verdict = compare(settings, stores or STORES, first, end, say, repair=repair)
    if as_json:
        print_json(verdict.as_json())
    else:
        print_verdict(verdict)
        for store in verdict.stores:
            _print_findings(store, repair=repair)
    repaired = repair and all(
        store.repaired == store.missing.count + store.different.count and not store.extra.count
        for store in verdict.stores
    )
    return ExitCode.DONE if verdict.equal or repaired else ExitCode.FAILED


def print_verdict(verdict: Verdict) -> None:
    """Print what was compared, and whether it is equal."""
    begin = f" from {moment(verdict.span.first)}" if verdict.span.first else ""
    click.echo(
        f"{verdict.events:,} committed events{begin}, up to {moment(verdict.span.end)}."
    )
    for limit in verdict.span.limits:
        click.echo(f"No further: {limit}.")
    print_table(
        ("store", "expected", "held", "refused", "missing", "extra", "different", "verdict"),
        [(
            store.title, f"{store.expected:,}", f"{store.held:,}", f"{store.refused:,}",
            f"{store.missing.count:,}", f"{store.extra.count:,}", f"{store.different.count:,}",
            "[green]equal[/]" if store.equal else "[red]differs[/]",
        ) for store in verdict.stores],
    )


def _print_findings(store: StoreFindings, *, repair: bool) -> None:
    for what, kind, mend in (
        ("missing from", store.missing, "sluice reconcile --repair writes them again"),
        ("different in", store.different, "sluice reconcile --repair writes them again"),
        ("in the store, but not committed in events.clean:", store.extra,
         "look at one with sluice events show ID; nothing here deletes them"),
    ):
        if kind.count:
            named = what if what.endswith(":") else f"{what} {store.title}:"
            click.echo(f"{kind.count:,} {named} {', '.join(kind.sample)}"
                       f"{' ...' if kind.count > len(kind.sample) else ''}")
            if not repair:
                click.echo(f"Do: {mend}.")
    if store.repaired:
        click.echo(f"{store.repaired:,} written again into {store.title}.")
