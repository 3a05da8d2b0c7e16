"""A disk that is soon full, and can be given room."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Grow = Callable[[], None]


@contextmanager
def small_disk(folder: Path, size: int, owner: int = 0) -> Iterator[Grow]:
    """Put a small file system at a folder; yield what gives it room."""
    assert os.geteuid() == 0, "this test mounts a small file system: run it as root"
    folder.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size},uid={owner},mode=700", "tmpfs", str(folder))
    try:
        yield lambda: _run("mount", "-o", "remount,size=4g", str(folder))
    finally:
        _run("umount", str(folder))


def free_bytes(folder: Path) -> int:
    """Return how much a file system still takes."""
    state = os.statvfs(folder)
    return state.f_bfree * state.f_frsize


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
