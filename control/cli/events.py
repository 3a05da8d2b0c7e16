"""`sluice events`: make and send events."""

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from time import monotonic

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from control.cli.output import json_option, print_json
from control.errors import MisuseError
from control.events.generator import Generator
from control.events.producer import Sent, produce
from control.settings import Settings

POSITIVE = click.FloatRange(min=0, min_open=True)


@click.group()
def events() -> None:
    """Make events and send them to Kafka."""


@events.command("produce")
@click.option("--count", type=click.IntRange(min=1), help="How many events.")
@click.option("--duration", type=POSITIVE, help="For how many seconds.")
@click.option("--rate", type=POSITIVE, help="Events a second at most.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same events.")
@click.option("--tenants", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@click.pass_obj
def produce_events(
    settings: Settings, count: int | None, duration: float | None, rate: float | None, seed: int,
    tenants: int, as_json: bool,
) -> None:
    """Send made-up events of all domains to events.raw until --count or --duration is reached."""
    if count is None and duration is None:
        message = "Say how long: --count or --duration."
        raise MisuseError(message, "For example: sluice events produce --count 10000 --rate 1000")
    start = datetime.now(UTC) - timedelta(minutes=1)
    stream = islice(Generator(seed, tenants, start).events(), count)
    if duration is not None:
        end = monotonic() + duration
        stream = takewhile(lambda _: monotonic() < end, stream)  # type: ignore[assignment]
    with _line(quiet=as_json) as line:
        task = line.add_task("", total=None)

        def report(sent: Sent) -> None:
            speed = sent.count / sent.seconds if sent.seconds else 0
            line.update(task, description=f"{sent.count:,} events sent, {speed:,.0f}/s")

        sent = produce(settings, stream, rate, report)
    if as_json:
        print_json(vars(sent))
    else:
        kinds = ", ".join(f"{count:,} {domain}" for domain, count in sorted(sent.domains.items()))
        click.echo(f"{sent.count:,} events acknowledged in {sent.seconds:.1f} s: {kinds}.")


def _line(*, quiet: bool) -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), console=Console(stderr=True),
        transient=True, disable=quiet,
    )
