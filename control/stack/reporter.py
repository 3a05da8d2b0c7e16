"""What `up` and `down` show while they work: a live line each, or plain lines in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from control.settings import public

if TYPE_CHECKING:
    from control.stack.up import Started

_MEGABYTE = 1_000_000
_LINE_EVERY_SHARE = 0.1


class Reporter:
    """Shows progress to a person; thread-safe as far as rich's console is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._tasks: dict[str, int] = {}

    def note(self, text: str) -> None:
        """Say something once."""
        self._console.print(text, highlight=False)

    @contextmanager
    def download(self, size: int, files: int) -> Iterator[Callable[[int], None]]:
        """Show a download; yields what is to be called with each number of bytes."""
        self.note(f"Fetching {files} files, {size / _MEGABYTE:.0f} MB.")
        if self._console.is_terminal:
            bar = Progress(
                TextColumn("  download"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                TimeElapsedColumn(), console=self._console,
            )
            with bar:
                task = bar.add_task("download", total=size)
                yield lambda count: bar.update(task, advance=count)
            return
        done = shown = 0.0

        def advance(count: int) -> None:
            nonlocal done, shown
            done += count
            if done - shown >= _LINE_EVERY_SHARE * size:
                shown = done
                self.note(f"  {done / _MEGABYTE:.0f} of {size / _MEGABYTE:.0f} MB")

        yield advance

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show one moving line for each server at work, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description:16} {task.fields[state]}"),
            TimeElapsedColumn(), console=self._console, transient=True,
        )
        with self._progress:
            yield
        self._progress = None
        self._tasks.clear()

    def begin(self, name: str) -> None:
        """Say that a server's turn has come."""
        if self._progress is not None:
            self._tasks[name] = self._progress.add_task(name, total=None, state="preparing")

    def state(self, name: str, state: str) -> None:
        """Say what a server is doing."""
        if self._progress is not None and name in self._tasks:
            self._progress.update(self._tasks[name], state=state)  # type: ignore[arg-type]

    def finish(self, started: "Started", address: str) -> None:
        """Say that a server answers."""
        self._drop(started.component.name)
        self._console.print(
            f"  [green]✓[/] {started.component.name:14} {started.version:24}"
            f" {public(address):44} {started.outcome.value}, {started.seconds:.1f} s",
            highlight=False, soft_wrap=True,
        )

    def fail(self, name: str, message: str) -> None:
        """Say that a server did not come up."""
        self._drop(name)
        self._console.print(f"  [red]✗[/] {name:14} {message}", highlight=False, soft_wrap=True)

    def _drop(self, name: str) -> None:
        if self._progress is not None and name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))  # type: ignore[arg-type]
