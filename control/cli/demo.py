"""`sluice demo`: what `make run` shows. The stack, the jobs, a stream of events, what came out."""

import time

import click
from rich.console import Console
from rich.live import Live

from control.cli.output import print_table
from control.cli.stack import start_stack
from control.database import connect
from control.events.producer import Run, Sent, produce
from control.kafka import count_messages
from control.search import count_documents
from control.settings import Settings, load_settings
from control.topics import TOPICS

_TENANTS = 50


@click.command()
@click.option("--count", type=click.IntRange(min=1), default=20_000, show_default=True)
@click.option("--rate", type=click.FloatRange(min=1), default=2_000, show_default=True,
              help="Events a second.")
@click.pass_obj
def demo(settings: Settings, count: int, rate: float) -> None:
    """Start the stack, send a stream of events and show what came out where."""
    start_stack(settings, only=None, database=None)
    settings = load_settings(home=settings.home)
    console = Console(highlight=False)
    console.print("\nJobs: none yet. Events stop in events.raw until the first one is there.\n")
    before = count_messages(settings.kafka_bootstrap, [topic.name for topic in TOPICS])
    sent = _stream(settings, console, count, rate)
    console.print(f"{sent.count:,} events acknowledged in {sent.seconds:.1f} s.\n")
    if sent.interrupted:
        console.print("Stopped sending.\n")
    _print_outcome(settings, before)
    console.print(
        "\nThe stack goes on running: `.venv/bin/sluice stack status` shows it,"
        " `make down` stops it."
    )


def _stream(settings: Settings, console: Console, count: int, rate: float) -> Sent:
    # A seed of its own for each run: the same events twice would all be duplicates.
    run = Run(seed=time.time_ns(), tenants=_TENANTS, count=count, rate=rate)
    last_line = 0.0
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def report(sent: Sent) -> None:
            nonlocal last_line
            text = f"{sent.count:,} of {count:,} events sent, {sent.rate:,.0f}/s"
            if console.is_terminal:
                live.update(text, refresh=True)
            elif sent.seconds - last_line >= 2:  # noqa: PLR2004 - a line each two seconds in a log
                last_line = sent.seconds
                console.print(text)

        return produce(settings, run, report)


def _print_outcome(settings: Settings, before: dict[str, int]) -> None:
    now = count_messages(settings.kafka_bootstrap, [topic.name for topic in TOPICS])
    rows = [
        (f"topic {topic.name}", f"{now[topic.name]:,}",
         f"{now[topic.name] - before[topic.name]:+,}", topic.purpose)
        for topic in TOPICS
    ]
    with connect(settings.timescale_dsn) as connection:
        row = connection.execute("SELECT to_regclass('public.events')").fetchone()
        table = row is not None and row[0] is not None
    rows.append(("table events", "" if table else "-", "", "comes with the sinks"))
    rows.append(("index events", f"{count_documents(settings.elasticsearch_url):,}", "",
                 "documents that can be searched"))
    print_table(("where", "count", "new", "what"), rows)
