"""A folder of rendered files: what differs from what would be written, and writing it."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

# How a file begins that may be written anew or deleted.
HEADER = "# Written by `sluice render`: change what it is made from, not this file.\n"


class State(StrEnum):
    """How a file stands to what would be written."""

    SAME = "same"
    CHANGED = "changed"
    MISSING = "missing"
    # Written once, for something that is no more.
    LEFT_OVER = "left over"


def compare(folder: Path, rendered: Mapping[str, str]) -> dict[str, State]:
    """Return each file with how it stands; a person's own files are passed over."""
    found = {
        file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.yaml")
    } if folder.is_dir() else {}
    states = {
        name: State.LEFT_OVER for name, text in found.items()
        if name not in rendered and text.startswith(HEADER)
    }
    for name, text in rendered.items():
        if name not in found:
            states[name] = State.MISSING
        else:
            states[name] = State.SAME if found[name] == HEADER + text else State.CHANGED
    return dict(sorted(states.items()))


def write(folder: Path, rendered: Mapping[str, str], states: Mapping[str, State]) -> None:
    """Make the folder hold what is rendered."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, state in states.items():
        if state is State.LEFT_OVER:
            (folder / name).unlink()
        elif state is not State.SAME:
            (folder / name).write_text(HEADER + rendered[name], encoding="utf-8")
