"""Unpack an archive into a folder that bears its hash: whole, once, whoever else does it too."""

import fcntl
import hashlib
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath

from control.archive.pack import Archive
from control.archive.stored import checked_hash
from control.errors import RefusedError, SluiceError
from control.events.render import printable

_CHUNK = 1 << 20


def unpack(archive: Archive, cache_folder: Path) -> Path:
    """Return the folder with an archive's content, unpacking it where that was not done yet."""
    folder = cache_folder / checked_hash(archive.hash)
    if folder.is_dir():
        return folder
    try:
        with archive.path.open("rb") as file:
            # First: an archive that is damaged leaves no trace.
            _check(file, archive)
            with _alone(folder):
                if not folder.is_dir():
                    _unpack(file, folder)
    except OSError as error:
        named = f"{printable(str(error.filename))}: " if error.filename else ""
        message = f"The archive {archive.path} cannot be unpacked: {named}{error.strerror}."
        raise SluiceError(message, f"Free some disk space, or check {cache_folder}.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        message = f"The archive {archive.path} is no archive that can be unpacked: {error}."
        raise RefusedError(message, "Deploy the job anew: that makes a new one.") from error
    return folder


def _check(file: BufferedReader, archive: Archive) -> None:
    # Through the same handle as the content: nobody can change the file in between.
    if hashlib.file_digest(file, "sha256").hexdigest() != archive.hash:
        message = f"The archive {archive.path} is damaged: its hash is not {archive.hash}."
        raise RefusedError(message, "Delete it and fetch it anew from the store.")


def _unpack(file: BufferedReader, folder: Path) -> None:
    draft = folder.with_name(f".{folder.name}.draft")
    # Of a command that was killed.
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with zipfile.ZipFile(file) as content:
            _extract(content, draft)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _extract(content: zipfile.ZipFile, draft: Path) -> None:
    entries = content.infolist()
    seen: set[str] = set()
    # All names before the first byte.
    for entry in entries:
        if problem := _problem(entry, seen):
            message = f"The archive has a file {printable(entry.filename)!r}, which {problem}."
            raise RefusedError(message, "Nothing was unpacked. Find out who made this archive.")
        seen.add(entry.filename)
    draft.mkdir(parents=True)
    for entry in entries:
        # Names are UTF-8 here whatever the locale says of the file system.
        path = draft / os.fsdecode(entry.filename.encode())
        path.parent.mkdir(parents=True, exist_ok=True)
        with content.open(entry) as source, path.open("xb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
        path.chmod(0o755 if (entry.external_attr >> 16) & stat.S_IXUSR else 0o644)


def _problem(entry: zipfile.ZipInfo, seen: set[str]) -> str | None:
    name = entry.filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.startswith("/") or ".." in name.split("/"):
        return "leads out of the folder"
    if name != str(PurePosixPath(name)) or name in {"", "."}:
        return "is no plain name of a file"
    if kind not in {0, stat.S_IFREG}:
        return "is no plain file"
    if name in seen:
        return "is there twice"
    return None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep two commands from unpacking the same; the kernel ends it with the process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
