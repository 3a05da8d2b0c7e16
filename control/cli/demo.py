"""`sluice demo`: what `make run` shows. The stack, the jobs, a stream of events, what came out."""

import time

import click
from rich.console import Console
from rich.live import Live

from control.cli.change import deploy_job
from control.cli.manner import Manner
from control.cli.output import print_table
from control.cli.reconcile import print_verdict
from control.cli.stack import start_stack
from control.database import connect
from control.db.migrations import migrate
from control.events.arrivals import Arrivals
from control.events.producer import Run, Sent, produce
from control.events.reader import open_reader
from control.events.traffic import Kind, Shares
from control.flink import FlinkClient
from control.kafka import count_messages
from control.lifecycle.decide import Wish
from control.reconcile.run import STORES, reconcile
from control.reconcile.span import backlog
from control.search import count_documents, put_template
from control.settings import Settings, load_settings
from control.tenants import made_up_tenants, write_tenants
from control.topics import TOPICS
from jobs.catalogue import JOBS

_TENANTS = 50
# Something of each kind, so that there is something to see.
# A sound job refuses less than one in a hundred: `sluice status` calls others ill.
_SHARES = Shares(duplicates=0.05, late=0.02, out_of_order=0.05, invalid=0.004, poison=0.004)
_ARRIVE_SECONDS = 90
# Two checkpoints of the local stack without anything new.
_QUIET_SECONDS = 5


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
    write_tenants(settings, made_up_tenants(_TENANTS, seed=1))
    migrate(settings.timescale_dsn)
    put_template(settings.elasticsearch_url)
    _start_jobs(settings, console)
    _catch_up(settings, console)
    before = count_messages(settings.kafka_bootstrap, [topic.name for topic in TOPICS])
    arrivals = Arrivals(settings)
    sent = _stream(settings, console, count, rate)
    console.print(f"{sent.count:,} events acknowledged in {sent.seconds:.1f} s.\n")
    if sent.interrupted:
        console.print("Stopped sending.\n")
    _await_arrivals(console, arrivals, sent)
    _await_stores(settings, console)
    _print_outcome(settings, before)
    _print_verdict(console, arrivals, sent)
    _print_reconciled(settings, console)
    console.print(
        "\nThe stack goes on running: `.venv/bin/sluice stack status` shows it,"
        " `make down` stops it."
    )


def _start_jobs(settings: Settings, console: Console) -> None:
    with FlinkClient(settings.flink_url) as flink:
        missing = [job for job in JOBS if flink.live_job(job.name) is None]
        running = [job.name for job in JOBS if job not in missing]
    if running:
        console.print(f"Running already: {', '.join(running)}.")
    for job in missing:
        # The tree as it lies there: a developer runs this between two commits.
        deploy_job(settings, job.name, console, Wish(), Manner(), allow_dirty=True)
    console.print()


def _catch_up(settings: Settings, console: Console) -> None:
    """Let what was sent before arrive first: only what is sent from now on is counted."""
    arrivals = Arrivals(settings)
    quiet_since = time.monotonic()
    deadline = quiet_since + _ARRIVE_SECONDS
    seen = 0
    with console.status("waiting until the jobs have caught up"):
        while time.monotonic() - quiet_since < _QUIET_SECONDS and time.monotonic() < deadline:
            time.sleep(1)
            arrivals.update()
            if arrivals.clean + arrivals.letters != seen:
                seen, quiet_since = arrivals.clean + arrivals.letters, time.monotonic()


def _await_arrivals(console: Console, arrivals: Arrivals, sent: Sent) -> None:
    deadline = time.monotonic() + _ARRIVE_SECONDS
    wanted = sent.count - sent.kinds.get(Kind.DUPLICATE, 0)
    with console.status("waiting for what was sent") as status:
        while True:
            arrivals.update()
            status.update(f"{arrivals.clean:,} clean and {arrivals.letters:,} dead letters"
                          f" of {wanted:,} are committed")
            if arrivals.clean + arrivals.letters >= wanted or time.monotonic() > deadline:
                return
            time.sleep(1)


def _await_stores(settings: Settings, console: Console) -> None:
    deadline = time.monotonic() + _ARRIVE_SECONDS
    with console.status("waiting for the stores") as status:
        while time.monotonic() < deadline:
            with open_reader(settings.kafka_bootstrap) as reader:
                left = backlog(reader, settings.kafka_bootstrap, STORES)
            if not any(left.values()):
                return
            status.update(f"not written yet: {', '.join(f'{n:,} {s}' for s, n in left.items())}")
            time.sleep(1)


def _print_reconciled(settings: Settings, console: Console) -> None:
    console.print()
    with console.status("comparing the stores with events.clean") as status:
        verdict = reconcile(settings, STORES, None, None, status.update)
    print_verdict(verdict)


def _print_verdict(console: Console, arrivals: Arrivals, sent: Sent) -> None:
    doubled = sent.kinds.get(Kind.DUPLICATE, 0)
    refused = sent.kinds.get(Kind.INVALID, 0) + sent.kinds.get(Kind.POISON, 0)
    sound = sent.count - doubled - refused
    exact = arrivals.clean == sound and arrivals.letters == refused
    console.print(
        f"\nSent {sent.count:,}: {sound:,} sound events, {doubled:,} duplicates, {refused:,} that"
        f" must be refused.\nCame out: {arrivals.clean:,} clean, {arrivals.letters:,} dead letters."
        f" {'Exactly.' if exact else 'These differ: something else sends here, or is stuck.'}"
    )
    if arrivals.reasons:
        reasons = ", ".join(f"{count} {name}" for name, count in arrivals.reasons.most_common())
        console.print(f"Dead letters: {reasons}. `sluice dlq list` shows them.")


def _stream(settings: Settings, console: Console, count: int, rate: float) -> Sent:
    # A seed of its own for each run: the same events twice would all be duplicates.
    run = Run(
        seed=time.time_ns(), tenants=_TENANTS, count=count, rate=rate, shares=_SHARES
    )
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
        row = connection.execute("SELECT count(*) FROM public.events").fetchone()
    rows.append(("table events", f"{row[0] if row else 0:,}", "", "rows that SQL can ask for"))
    rows.append(("index events", f"{count_documents(settings.elasticsearch_url):,}", "",
                 "documents that can be searched"))
    print_table(("where", "count", "new", "what"), rows)
