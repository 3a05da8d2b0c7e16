"""What all stores of archives share: what they hold, how they fail, how bytes are taken in."""

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from control.errors import MisuseError, RefusedError, SluiceError

_HASH = re.compile(r"[0-9a-f]{64}")
_ENDING = ".zip"
_CHUNK = 1 << 20
# Nothing takes that long to arrive: such a draft is left from a command that was killed.
_STALE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class StoredArchive:
    """An archive in a store."""

    hash: str
    size: int
    # When it was put there.
    at: datetime


# For the stores, in which `list` is their own method.
StoredArchives = list[StoredArchive]


class StoreAwayError(SluiceError):
    """The store does not answer, or cannot do what it is asked to now."""


class StoreAccessError(SluiceError):
    """The store does not let us."""


class ArchiveMissingError(SluiceError):
    """The store has no such archive."""

    def __init__(self, archive_hash: str, store: str) -> None:
        super().__init__(
            f"The archive {archive_hash} is not in {store}.",
            "If it lies in another store, set SLUICE_ARCHIVE_STORE to that one. If it was deleted,"
            " check out its commit and deploy that.",
        )


def checked_hash(text: str) -> str:
    """Return what is a hash; anything else might lead out of a store."""
    if _HASH.fullmatch(text) is None:
        message = f"{text[:80]!r} is no archive's hash."
        raise MisuseError(message, "A hash has 64 letters and digits, 0-9 and a-f.")
    return text


def file_name(archive_hash: str) -> str:
    """Return under which name an archive lies in a store."""
    return f"{checked_hash(archive_hash)}{_ENDING}"


def hash_of(name: str) -> str | None:
    """Return the hash of an archive by its file's name; None for anything else."""
    stem = name.removesuffix(_ENDING)
    return stem if stem != name and _HASH.fullmatch(stem) else None


def digest_of(path: Path) -> str:
    """Return the hash of a file that should be an archive."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def receive(chunks: Iterable[bytes], archive_hash: str, into: Path, origin: str) -> Path:
    """Write an archive's bytes into a folder: whole, and only if they have its hash."""
    into.mkdir(parents=True, exist_ok=True)
    sweep(into)
    target = into / file_name(archive_hash)
    draft = into / f".{archive_hash}.{os.getpid()}.{uuid.uuid4().hex[:8]}.draft"
    digest = hashlib.sha256()
    try:
        with draft.open("xb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != archive_hash:
            raise damaged(archive_hash, origin)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    # The name, too, must outlive a power cut.
    folder = os.open(into, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return target


def damaged(archive_hash: str, where: str) -> RefusedError:
    """Return the error for content that does not fit its name."""
    message = f"The archive {archive_hash} in {where} is damaged: its content has another hash."
    hint = "Nothing was changed. Delete it there, check out its commit and deploy that."
    return RefusedError(message, hint)


def here_already(archive_hash: str, into: Path) -> Path | None:
    """Return an archive that was fetched before and is whole."""
    path = into / file_name(archive_hash)
    try:
        return path if digest_of(path) == archive_hash else None
    except FileNotFoundError:
        return None


@contextmanager
def told_of_folder(folder: Path) -> Iterator[None]:
    """Turn what goes wrong with the folder that an archive is fetched into to words."""
    try:
        yield
    except OSError as error:
        message = f"The archive cannot be written into {folder}: {error.strerror}."
        raise SluiceError(message, "Free some disk space, or check who may write there.") from error


def sweep(folder: Path) -> None:
    """Delete what commands that were killed left half written."""
    oldest = time.time() - _STALE_SECONDS
    for draft in folder.glob(".*.draft"):
        # Somebody else may be done with it just now.
        with suppress(FileNotFoundError):
            if draft.is_file() and draft.stat().st_mtime < oldest:
                draft.unlink()
