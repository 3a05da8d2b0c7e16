"""How lists look: a table for a person, JSON for a machine."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

Say = Callable[[str], None]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(content: object) -> None:
    """Print JSON that a pipe can read."""
    click.echo(json.dumps(content, indent=2, default=str))


def table_console() -> Console:
    """Return a console for tables: a pipe has no width, nothing is folded there."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 500
    return console


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; cells may carry rich's markup."""
    console = table_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMBERS else "left",
                         overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


_NUMBERS = frozenset({"pid", "MB", "data MB", "uptime", "count", "seconds"})


def duration(seconds: float | None) -> str:
    """Write a duration as a person reads it: 4s, 3m 20s, 2h 5m, 3d 4h."""
    if seconds is None:
        return ""
    left = int(seconds)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


@contextmanager
def progress_line(*, quiet: bool) -> Iterator[Say]:
    """Show on a terminal what is going on, in one line that goes away."""
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=None)
        yield lambda text: progress.update(task, description=text)
