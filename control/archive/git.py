"""What git says of a folder, whatever the environment tells git."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from control.errors import SluiceError, TimedOutError

_TIMEOUT_SECONDS = 60
_FAILED = 128

# Inside a hook, git's own variables name another repository or index than the folder's. Those that
# configure git stay: a build machine trusts the folder by them.
_OURS = "GIT_"
_KEPT = ("GIT_CONFIG", "GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY")


@dataclass(frozen=True)
class Repository:
    """The repository in which a folder lies."""

    folder: Path
    # From the repository's top to the folder, with a slash at its end; empty at the top.
    prefix: bytes

    def commit(self) -> str | None:
        """Return the commit that is checked out; None before the first one."""
        answer = _git(self.folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", fine=(0, 1))
        return answer.decode("ascii").strip() or None

    def tracked(self, places: Sequence[str]) -> list[bytes]:
        """Return the files at these places that git knows, relative to the folder."""
        answer = _git(self.folder, "ls-files", "-z", "--cached", "--", *places)
        # One with a conflict is listed once for each side.
        return sorted({name for name in answer.split(b"\0") if name})

    def changes(self, places: Sequence[str]) -> list[tuple[bytes, bool]]:
        """Return what differs from the last commit, and whether git does not know it at all."""
        answer = _git(
            self.folder, "status", "--porcelain=v1", "-z", "--untracked-files=all",
            "--ignore-submodules=none", "--no-renames", "--", *places,
        )
        # Two letters and a space come first. Names are relative to the repository's top here.
        return [
            (entry[3:].removeprefix(self.prefix), entry.startswith(b"??"))
            for entry in answer.split(b"\0") if entry
        ]

    def ignores_folder(self) -> bool:
        """Tell whether the folder is one of those that the repository leaves out."""
        return _git(self.folder, "check-ignore", ".", fine=(0, 1)) != b""


def git_is_here() -> bool:
    """Tell whether git is installed."""
    return shutil.which("git") is not None


def find_repository(folder: Path) -> Repository | None:
    """Return the repository of a folder; None where there is none, or no git."""
    if not git_is_here():
        return None
    try:
        prefix = _git(folder, "rev-parse", "--show-prefix")
    except _NoRepositoryError:
        return None
    return Repository(folder, prefix.removesuffix(b"\n"))


class _NoRepositoryError(SluiceError):
    """The folder is in no repository."""


def _git(folder: Path, *arguments: str, fine: Sequence[int] = (0,)) -> bytes:
    command = [
        shutil.which("git") or "git",
        # A person who works in the folder meanwhile must not find the index locked.
        "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments,
    ]
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith(_OURS) or name.startswith(_KEPT)
    }
    try:
        done = subprocess.run(
            command, cwd=folder, env={**environment, "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
            capture_output=True, check=False, timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        message = f"git did not answer in {folder} within {_TIMEOUT_SECONDS} s."
        raise TimedOutError(message, "Run `git status` there and see what holds it up.") from error
    except OSError as error:
        message = f"git cannot be run in {folder}: {error.strerror}."
        raise SluiceError(message, "Check the folder, and that git is installed.") from error
    if done.returncode in fine:
        return done.stdout
    words = done.stderr.decode("utf-8", "replace").strip()
    # A link to a repository that is gone says the same but for the brackets: that is a fault.
    if done.returncode == _FAILED and "not a git repository (or any" in words:
        raise _NoRepositoryError(words)
    reason = words.splitlines()[0].removeprefix("fatal: ") if words else "no word"
    message = f"git cannot read the repository of {folder}: {reason}."
    hint = (
        f"Trust it by `git config --global --add safe.directory {folder}`, if it is yours."
        if "dubious ownership" in words else "Run `git status` there and mend what it says."
    )
    raise SluiceError(message, hint)
