"""Which files of a source tree make up the code of its jobs."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from control.archive.git import Repository, find_repository, git_is_here
from control.errors import RefusedError, SluiceError
from control.events.render import printable

# What the client imports that builds a job's graph, and what says with which packages.
FOLDERS = ("jobs", "udfs", "control", "schemas")
FILES = ("locks/runtime.txt", "pyproject.toml")
PLACES = (*FOLDERS, *FILES)

_NAMED = 5


@dataclass(frozen=True)
class SourceTree:
    """A checkout, or a copy of one without its repository."""

    root: Path

    def files(self) -> list[str]:
        """Return the files that belong to the jobs' code, sorted, relative to the root.

        With git these are the files that git knows, as they lie there now.
        """
        known = self._repository
        names = self._walk() if known is None else map(_text, known.tracked(PLACES))
        found = sorted(name for name in names if self._is_file(name))
        if not found:
            message = f"{self.root} has no job code that git knows." if known is not None else (
                f"{self.root} has no job code."
            )
            raise RefusedError(message, f"Run it in a checkout: it wants {', '.join(FOLDERS)}.")
        return found

    def path(self, name: str) -> Path:
        """Return where a file of the tree lies."""
        # Names are UTF-8 here whatever the locale says of the file system.
        return self.root / os.fsdecode(name.encode())

    def changes(self) -> list[str]:
        """Return the files that differ from the last commit; none where there is no git."""
        return [name for name, _ in self._changes()]

    def left_out(self) -> list[str]:
        """Return the files that git does not know, which get into no archive."""
        return [name for name, untracked in self._changes() if untracked]

    def commit(self) -> str | None:
        """Return the commit that is checked out; None without git or before the first one."""
        return None if self._repository is None else self._repository.commit()

    def require_clean(self, allow_dirty: bool) -> None:
        """Refuse a tree that is not what its last commit says."""
        if allow_dirty:
            return
        if (self.root / ".git").exists() and not git_is_here():
            message = f"Nobody can tell whether {self.root} is what its last commit says: no git."
            raise RefusedError(message, "Install git, or say --allow-dirty.")
        changes = self.changes()
        if not changes:
            return
        verb = "differs" if len(changes) == 1 else "differ"
        message = f"The tree is not clean: {name_files(changes)} {verb} from the last commit."
        hint = (
            "Commit first. With --allow-dirty the files are taken as they are; those that git does"
            " not know stay out until `git add`."
        )
        raise RefusedError(message, hint)

    def _changes(self) -> list[tuple[str, bool]]:
        if self._repository is None:
            return []
        found = [
            (name.decode("utf-8", "surrogateescape"), untracked)
            for name, untracked in self._repository.changes(PLACES)
        ]
        # What Python or an editor left there never gets into an archive.
        return sorted(
            (name, untracked) for name, untracked in found
            if not (untracked and _is_skipped(name))
        )

    @cached_property
    def _repository(self) -> Repository | None:
        if not self.root.is_dir():
            message = f"{self.root} is no folder."
            raise SluiceError(message, "Name the folder of a checkout.")
        found = find_repository(self.root)
        if found is None or not found.prefix:
            return found
        # A copy inside a repository that has nothing to do with it, such as one of a home folder.
        foreign = found.ignores_folder() and not found.tracked(PLACES)
        return None if foreign else found

    def _walk(self) -> Iterator[str]:
        for place in PLACES:
            top = self.root / place
            if not top.is_dir() or top.is_symlink():
                yield place
                continue
            for folder, inner, names in os.walk(top, onerror=_unreadable):
                below = Path(folder)
                inner[:] = [name for name in inner if not _is_skipped(name)]
                # Links to folders are not followed: they are named, and refused as links.
                links = [name for name in inner if (below / name).is_symlink()]
                for name in [*names, *links]:
                    if not _is_skipped(name):
                        yield _text(os.fsencode((below / name).relative_to(self.root)))

    def _is_file(self, name: str) -> bool:
        """Tell whether a plain file is there; refuse what is neither that nor missing."""
        path = self.path(name)
        # A folder on the way may have become a link since git learnt of the file.
        steps = [path, *path.parents][: name.count("/") + 1]
        for step in reversed(steps):
            try:
                mode = step.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                return False
            except OSError as error:
                _unreadable(error)
            if stat.S_ISLNK(mode):
                shown = printable(str(step.relative_to(self.root)))
                message = f"{shown} is a symbolic link: its target may differ between machines."
                raise RefusedError(message, "Put the file itself there.")
        if not stat.S_ISREG(mode):
            what = "a folder of another repository" if stat.S_ISDIR(mode) else "no plain file"
            message = f"{printable(name)} is {what}, which cannot be packed."
            raise RefusedError(message, "Put plain files there, or remove it.")
        return True


def name_files(names: Sequence[str]) -> str:
    """Return the first of many files for a sentence, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(printable(name) for name in names[:_NAMED]) + more


def _is_skipped(name: str) -> bool:
    return name.endswith(".pyc") or any(
        part.startswith(".") or part in {"__pycache__", "node_modules"}
        for part in name.split("/")
    )


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = printable(name.decode("utf-8", "backslashreplace"))
        message = f"The name of {shown} is not UTF-8."
        raise RefusedError(message, "Rename the file.") from error


def _unreadable(error: OSError) -> NoReturn:
    message = f"{printable(str(error.filename))} cannot be read: {error.strerror}."
    raise SluiceError(message, "Check who may read it.") from error
