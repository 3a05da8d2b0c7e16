"""`sluice stack`: the local servers."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from control.cli.output import duration, json_option, print_json, print_table
from control.errors import ExitCode, MisuseError, RefusedError
from control.settings import ADDRESSES, PREFIX, Settings, load_settings
from control.stack.catalogue import DATABASES, groups, select
from control.stack.context import OpenStack, open_stack
from control.stack.down import Stopped, take_down, wipe
from control.stack.provision import Provisioner
from control.stack.reporter import Reporter
from control.stack.status import State, read_status
from control.stack.up import bring_up

_STYLES = {State.UP: "green", State.DOWN: "red", State.SILENT: "red", State.STOPPED: "dim"}

only_option = click.option(
    "--only", metavar="NAMES",
    help="Just these servers, separated by commas; flink is all of Flink.",
)
database_option = click.option(
    "--db", "database", type=click.Choice(DATABASES), default=None,
    help="The database; default: the one of the last time, at first postgres.",
)


@click.group()
def stack() -> None:
    """Run the servers of the platform on this machine, without containers."""


@stack.command()
@only_option
@database_option
@click.pass_obj
def up(settings: Settings, only: str | None, database: str | None) -> None:
    """Start what is not running. A second time changes nothing."""
    start_stack(settings, only, database)


def start_stack(settings: Settings, only: str | None, database: str | None) -> None:
    """Bring the stack up and say so."""
    begun = time.monotonic()
    console = Console(soft_wrap=True)
    reporter = Reporter(console)
    opened = open_stack(settings)
    with opened.context.home.locked("up"):
        opened = open_stack(settings, database)
        _refuse_other_database(opened)
        chosen = select(opened.components, only)
        provisioner = Provisioner(lambda: load_settings(home=settings.home), reporter)
        console.print(f"Starting {len(chosen)} servers in {settings.home}", highlight=False)
        with reporter.live():
            bring_up(opened, chosen, reporter, provisioner)
    console.print(
        f"The stack is up after {time.monotonic() - begun:.1f} s."
        " `sluice stack status` shows it, `sluice stack down` stops it.", highlight=False,
    )


def _refuse_other_database(opened: OpenStack) -> None:
    for other in DATABASES:
        if other != opened.state.database and opened.context.processes.find(other) is not None:
            message = f"This stack runs {other}; it cannot have two databases at once."
            hint = "`sluice stack down` first, or use another SLUICE_HOME for the other one."
            raise RefusedError(message, hint)


@stack.command()
@click.option("--wipe", "and_wipe", is_flag=True, help="Delete all data, too; downloads stay.")
@click.pass_obj
def down(settings: Settings, and_wipe: bool) -> None:
    """Stop every server, readers before what they read from."""
    _down(settings, and_wipe=and_wipe)


def _down(settings: Settings, *, and_wipe: bool) -> None:
    console = Console(soft_wrap=True, highlight=False)
    opened = open_stack(settings)
    if not opened.context.home.exists and not opened.context.processes.marked():
        console.print(f"There is no stack in {settings.home}.")
        return
    begun = time.monotonic()

    def report(stopped: Stopped) -> None:
        how = "" if stopped.graceful else " (did not end in time, killed)"
        console.print(f"  [green]✓[/] {stopped.name:14} {stopped.seconds:4.1f} s{how}")

    with opened.context.home.locked("down"):
        stopped = take_down(opened, report)
        if and_wipe:
            wipe(opened)
    what = f"{len(stopped)} servers stopped" if stopped else "Nothing was running"
    wiped = ", all data deleted" if and_wipe else ""
    console.print(f"{what} after {time.monotonic() - begun:.1f} s{wiped}.")


@stack.command()
@only_option
@database_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def reset(settings: Settings, only: str | None, database: str | None, yes: bool) -> None:
    """Stop everything, delete all data, and start anew."""
    if not yes:
        click.confirm(f"Delete all data in {settings.home}?", abort=True)
    _down(settings, and_wipe=True)
    start_stack(load_settings(home=settings.home), only, database)


@stack.command()
@json_option
@click.pass_obj
def status(settings: Settings, as_json: bool) -> int:
    """Show every server; exit code 1 when one is down."""
    entries = read_status(open_stack(settings))
    if as_json:
        print_json([entry.as_json() for entry in entries])
    else:
        click.echo(f"The stack in {settings.home}, the logs below it:")
        print_table(
            ("component", "state", "version", "address", "pid", "MB", "uptime", "data MB", "log"),
            [
                (
                    entry.component,
                    f"[{_STYLES[entry.state]}]{entry.state.value}[/]"
                    + (" (yours)" if entry.external else ""),
                    entry.version,
                    entry.address,
                    str(entry.pid or ""),
                    f"{entry.memory_mb:.0f}" if entry.memory_mb is not None else "",
                    duration(entry.uptime_s),
                    f"{entry.data_mb:.0f}" if entry.data_mb is not None else "",
                    _short(entry.log, settings.home),
                )
                for entry in entries
            ],
        )
        _print_problems(entries_problems=[
            (entry.component, entry.problem) for entry in entries if entry.state is not State.UP
        ])
    healthy = all(entry.state is State.UP for entry in entries)
    return ExitCode.DONE if healthy else ExitCode.FAILED


def _print_problems(entries_problems: list[tuple[str, str]]) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for component, problem in entries_problems:
        console.print(f"{component}: {problem}")
    if entries_problems:
        console.print("`sluice stack up` starts what is down.")


def _short(path: str | None, home: Path) -> str:
    if path is None:
        return ""
    file = Path(path)
    return str(file.relative_to(home)) if file.is_relative_to(home) else path


@stack.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
@click.option("-n", "--lines", default=100, show_default=True, help="How many lines to begin with.")
@click.pass_obj
def logs(settings: Settings, name: str, follow: bool, lines: int) -> int:
    """Print the log of one server."""
    opened = open_stack(settings)
    known = groups(opened.components)
    if len(known.get(name, [])) != 1:
        message = f"There is no server {name!r}."
        raise MisuseError(message, f"Choose from {', '.join(p.name for p in opened.components)}.")
    part = opened.named(known[name])[0]
    files = [file for file in (part.log(opened.context), opened.context.home.logs / f"{name}.out")
             if file.exists()]
    if not files:
        click.echo(f"{name} has not written a log yet.", err=True)
        return ExitCode.FAILED
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), str(files[0])]
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return ExitCode.DONE


@stack.command()
@click.pass_obj
def env(settings: Settings) -> None:
    """Print the servers' addresses as shell exports, for tools that are not sluice."""
    for name in ADDRESSES:
        value = getattr(settings, name)
        text = value if isinstance(value, str) else value.get_secret_value()
        sys.stdout.write(f"export {PREFIX}{name.upper()}={shlex.quote(text)}\n")
