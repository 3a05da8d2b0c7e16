"""Commands that are imported only when they are used: a person waits for one, not for all."""

import importlib
from typing import Any, NamedTuple

import click


class Place(NamedTuple):
    """Where a command is, and its line in the list."""

    module: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands lie in modules that are imported when one of them is called."""

    def __init__(self, *arguments: Any, places: dict[str, Place], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands."""
        return sorted(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; its module is imported now."""
        place = self._places.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        command = getattr(importlib.import_module(place.module), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - for mypy; a test goes through all
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([
                (name, self._places[name].help) for name in self.list_commands(ctx)
            ])
