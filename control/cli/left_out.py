"""Say which files of a tree that is taken as it is stay out of the archive all the same."""

from pathlib import Path

import click

from control.archive.source import SourceTree, name_files


def tell_left_out(source: Path) -> None:
    """Name the files that git does not know: a job that imports one would not be built."""
    names = SourceTree(source).left_out()
    if names:
        stay, them = ("stays", "it") if len(names) == 1 else ("stay", "them")
        click.echo(f"{name_files(names)} {stay} out, since git does not know {them}:"
                   f" `git add` takes {them} along.", err=True)
