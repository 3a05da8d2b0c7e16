"""Where archives are kept: a folder, or anything that speaks S3."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from control.archive.pack import Archive
from control.archive.s3 import S3Store
from control.archive.s3_access import S3Access
from control.archive.stored import (
    ArchiveMissingError,
    StoreAccessError,
    StoreAwayError,
    StoredArchive,
    StoredArchives,
    file_name,
    hash_of,
    here_already,
    read_chunks,
    receive,
    told_of_folder,
)
from control.errors import MisuseError, SluiceError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HINT = "SLUICE_ARCHIVE_STORE is a folder, file:///FOLDER or s3://BUCKET/PREFIX."


class ArchiveStore(Protocol):
    """Keeps archives by their hash."""

    def put(self, archive: Archive) -> None:
        """Keep an archive; one that is there already is left as it is."""

    def get(self, archive_hash: str, into: Path) -> Path:
        """Fetch an archive into a folder and check it; return the file."""

    def has(self, archive_hash: str) -> bool:
        """Tell whether an archive is there."""

    def list(self) -> StoredArchives:
        """Return all archives, the newest first."""

    def delete(self, archive_hash: str) -> None:
        """Delete an archive; one that is not there is deleted already."""


def open_store(address: str, access: S3Access | None = None) -> ArchiveStore:
    """Return the store at an address; `access` is for S3."""
    scheme = _SCHEME.match(address)
    if scheme is None:
        if not address.strip():
            message = "The address of the archives is empty."
            raise MisuseError(message, _HINT)
        return FolderStore(Path(address).expanduser().absolute())
    match scheme[1].lower():
        case "file":
            return FolderStore(_file_path(address))
        case "s3":
            bucket, _, prefix = address[scheme.end():].partition("/")
            return S3Store(bucket, prefix, access)
    # Another scheme may carry a password.
    message = f"Archives cannot be kept at an address that starts with {scheme[0]}"
    raise MisuseError(message, _HINT)


def _file_path(address: str) -> Path:
    # A path may have these letters; here they would cut it off.
    parts = urlsplit(address.replace("?", "%3F").replace("#", "%23"))
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        message = f"{address} names no folder of this machine."
        raise MisuseError(message, _HINT)
    return Path(path)


class FolderStore:
    """Archives in a folder, which may be shared between machines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def put(self, archive: Archive) -> None:
        """Keep an archive; one that is there already is left as it is."""
        target = self._folder / file_name(archive.hash)
        with self._told():
            if target.is_file() and target.stat().st_size == archive.size:
                return
            receive(_given(archive), archive.hash, self._folder, str(archive.path))

    def get(self, archive_hash: str, into: Path) -> Path:
        """Fetch an archive into a folder and check it; return the file."""
        with told_of_folder(into):
            if (here := here_already(archive_hash, into)) is not None:
                return here
            if not self.has(archive_hash):
                raise ArchiveMissingError(archive_hash, str(self))
            return receive(self._kept(archive_hash), archive_hash, into, str(self))

    def has(self, archive_hash: str) -> bool:
        """Tell whether an archive is there."""
        with self._told():
            return (self._folder / file_name(archive_hash)).is_file()

    def list(self) -> StoredArchives:
        """Return all archives, the newest first."""
        found = []
        with self._told():
            for path in self._folder.iterdir() if self._folder.exists() else ():
                if (archive_hash := hash_of(path.name)) is not None:
                    status = path.stat()
                    at = datetime.fromtimestamp(status.st_mtime, UTC)
                    found.append(StoredArchive(archive_hash, status.st_size, at))
        return sorted(found, key=lambda one: (one.at, one.hash), reverse=True)

    def delete(self, archive_hash: str) -> None:
        """Delete an archive; one that is not there is deleted already."""
        with self._told():
            (self._folder / file_name(archive_hash)).unlink(missing_ok=True)

    def _kept(self, archive_hash: str) -> Iterator[bytes]:
        with self._told():
            yield from read_chunks(self._folder / file_name(archive_hash))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            message = f"The store of archives {self} does not let us: {error.strerror}."
            raise StoreAccessError(message, "Check who may read and write there.") from error
        except OSError as error:
            message = f"The store of archives {self} cannot be used: {error.strerror}."
            hint = "Check that it is mounted and has room, or set SLUICE_ARCHIVE_STORE."
            raise StoreAwayError(message, hint) from error


def _given(archive: Archive) -> Iterator[bytes]:
    try:
        yield from read_chunks(archive.path)
    except OSError as error:
        message = f"The archive {archive.path} cannot be read: {error.strerror}."
        raise SluiceError(message, "Deploy the job anew: that packs it again.") from error
