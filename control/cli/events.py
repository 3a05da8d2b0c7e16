"""`sluice events`: make and send events, follow and find them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import randbits

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from control.cli.numbers import POSITIVE, SHARE
from control.cli.output import json_option, print_json
from control.errors import ExitCode, MisuseError, SluiceError
from control.events.decoding import Decoding
from control.events.generator import DEFAULT_OLDER
from control.events.interruption import interruption
from control.events.producer import TOPIC, Run, Sent, produce
from control.events.reader import open_reader
from control.events.render import as_json_object, line, page, printable
from control.events.selection import Filter, Finder
from control.events.traffic import Shares
from control.registry import RegistryClient
from control.settings import Settings

CLEAN = "events.clean"

# The likeliest place first.
SEARCHED = (CLEAN, "events.dlq", "events.raw")


@click.group()
def events() -> None:
    """Make events, send them to Kafka, and read them there."""


@events.command("produce")
@click.option("--count", type=click.IntRange(min=1), help="How many messages, all kinds together.")
@click.option("--duration", type=POSITIVE, help="For how many seconds.")
@click.option("--rate", type=POSITIVE, help="Messages a second at most.  [default: no limit]")
@click.option("--seed", type=int,
              help="The same seed makes the same events, but for their times."
                   "  [default: a new one]")
@click.option("--tenants", type=click.IntRange(1, 1_000_000), default=50, show_default=True,
              help="How many tenants; the k-th sends 1/k of what the first does.")
@click.option("--older", type=SHARE, default=DEFAULT_OLDER, show_default=True,
              help="Share of events in older versions of their schemas.")
@click.option("--duplicates", type=SHARE, default=0.0, show_default=True,
              help="Share that repeats an earlier message of this run, byte by byte.")
@click.option("--late", type=SHARE, default=0.0, show_default=True,
              help="Share that happened two minutes to twenty hours ago.")
@click.option("--out-of-order", type=SHARE, default=0.05, show_default=True,
              help="Share that happened seconds before what was sent before it.")
@click.option("--invalid", type=SHARE, default=0.0, show_default=True,
              help="Share that decodes, but breaks a rule.")
@click.option("--poison", type=SHARE, default=0.0, show_default=True,
              help="Share of bytes that no event can be read from.")
@click.option("--manifest", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="List each message in this file, in the order sent.")
@click.option("--topic", default=TOPIC, show_default=True, help="Where to send them.")
@json_option
@click.pass_obj
def produce_events(  # noqa: PLR0913 - the command's options
    settings: Settings, *, count: int | None, duration: float | None, rate: float | None,
    seed: int | None, tenants: int, older: float, duplicates: float, late: float,
    out_of_order: float, invalid: float, poison: float, manifest: Path | None, topic: str,
    as_json: bool,
) -> None:
    """Send made-up events of all domains until --count or --duration is reached.

    The manifest is JSON Lines: event_id, kind, tenant_id, occurred_at and what to expect (clean,
    duplicate or dlq, the latter with reason, detail and the SHA-256 of the bytes). A line is in the
    file before its message is sent. After an interruption or a dead broker it lists every message
    that may have arrived; after a normal end or one Ctrl-C exactly those that have. A second
    Ctrl-C does not wait for acknowledgements.
    """
    if count is None and duration is None:
        message = "Say how long: --count or --duration."
        raise MisuseError(message, "For example: sluice events produce --count 10000 --rate 1000")
    run = Run(
        seed=randbits(32) if seed is None else seed, tenants=tenants, count=count,
        seconds=duration, rate=rate, older=older, manifest=manifest, topic=topic,
        shares=Shares(duplicates, late, out_of_order, invalid, poison),
    )
    with _progress(quiet=as_json) as progress:
        task = progress.add_task("", total=None)

        def report(sent: Sent) -> None:
            goal = "" if count is None else f" of {count:,}"
            progress.update(
                task, description=f"{sent.count:,}{goal} messages sent, {sent.rate:,.0f}/s"
            )

        sent = produce(settings, run, report)
    if as_json:
        print_json(sent.as_json())
    else:
        _print_summary(sent, run)
    if sent.interrupted:
        raise click.exceptions.Exit(ExitCode.FAILED)


@events.command("tail")
@click.argument("topic", default=CLEAN)
@click.option("--from-start", is_flag=True, help="Begin with the oldest message, not the next one.")
@click.option("--no-follow", is_flag=True, help="End with the newest message there is now.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many are shown.")
@click.option("--domain", help="Only this domain's events.")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--type", "event_type", help="Only this type, as in transaction.failed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_obj
def tail_events(  # noqa: PLR0913 - the command's options
    settings: Settings, *, topic: str, from_start: bool, no_follow: bool, count: int | None,
    domain: str | None, tenant: str | None, event_type: str | None, as_json: bool,
) -> None:
    """Show messages of TOPIC (events.clean by default) as they come, a line each.

    Decodes every topic that carries registered records. Transactions that were not committed are
    not shown. What cannot be decoded is shown with its first bytes, unless a filter is given.
    """
    wanted = Filter(domain, tenant, event_type)
    shown = 0
    with (
        _decoding(settings) as decoding, open_reader(settings.kafka_bootstrap) as reader,
        # The usual way to end it. An exception inside Kafka's client might be lost there.
        interruption() as wish,
    ):
        for record in reader.follow(
            topic, from_start=from_start, to_end=no_follow, stopped=lambda: wish.asked
        ):
            if wish.asked:
                return
            decoded = decoding.decode(record.value)
            if not wanted.takes(decoded):
                continue
            click.echo(
                json.dumps(as_json_object(record, decoded), ensure_ascii=False) if as_json
                else line(record, decoded)
            )
            shown += 1
            if shown == count:
                return


@contextmanager
def _decoding(settings: Settings) -> Iterator[Decoding]:
    with RegistryClient(settings.registry_url) as registry:
        yield Decoding(registry.schema_by_id)


@events.command("show")
@click.argument("event_id")
@click.option("--topic", "topics", multiple=True,
              help=f"Where to look, more than once if need be.  [default: {', '.join(SEARCHED)}]")
@click.option("--limit", type=click.IntRange(min=1), default=200_000, show_default=True,
              help="How many messages to look at in each topic, the newest first.")
@json_option
@click.pass_obj
def show_event(
    settings: Settings, event_id: str, topics: tuple[str, ...], limit: int, *, as_json: bool
) -> None:
    """Find an event by its id, say where it lies, and print it whole."""
    searched = topics or SEARCHED
    with _decoding(settings) as decoding, open_reader(settings.kafka_bootstrap) as reader:
        finder = Finder(event_id, decoding)
        for topic in searched:
            record = reader.search(topic, limit, finder.wants)
            if record is not None:
                decoded = decoding.decode(record.value)
                if as_json:
                    print_json(as_json_object(record, decoded))
                else:
                    click.echo(page(record, decoded))
                return
    message = (
        f"No event {printable(event_id)} among the last {limit:,} messages of"
        f" {', '.join(searched)}."
    )
    raise SluiceError(message, "--limit looks further back, --topic elsewhere.")


def _print_summary(sent: Sent, run: Run) -> None:
    ended = "Interrupted: " if sent.interrupted else ""
    click.echo(
        f"{ended}{sent.count:,} messages acknowledged in {sent.seconds:.1f} s"
        f" ({sent.rate:,.0f}/s, {sent.size / 1e6:,.1f} MB)."
    )
    click.echo(f"Kinds: {_counts(sent.kinds)}.")
    if sent.domains:
        click.echo(f"Domains: {_counts(sent.domains)}.")
    click.echo(f"Seed: {sent.seed}.")
    if run.manifest is not None:
        click.echo(f"Manifest: {run.manifest}.")


def _counts(counts: dict[str, int]) -> str:
    most_first = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in most_first)


def _progress(*, quiet: bool) -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), console=Console(stderr=True),
        transient=True, disable=quiet,
    )
