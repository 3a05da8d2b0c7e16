"""Pack job code and its packages into one archive: the same content gives the same bytes."""

import json
import os
import shutil
import stat
import uuid
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from control.archive.packages import PACKAGES, packages
from control.archive.source import SourceTree
from control.archive.stored import digest_of, file_name, sweep
from control.errors import RefusedError, SluiceError

MANIFEST = "sluice-manifest.json"

_CHUNK = 1 << 20
# From here on a zip needs its large form, which must be chosen before the file is written.
_HUGE = 1 << 31
# Fixed, because the bytes depend on it. They depend on zlib's version as well, in theory: it has
# not changed what it writes at this level for many years.
_LEVEL = 6
_UNIX = 3


@dataclass(frozen=True)
class Archive:
    """One archive on this machine."""

    # The sha256 of its bytes, in hexadecimal: its name everywhere.
    hash: str
    path: Path
    size: int
    manifest: Mapping[str, Any] = field(hash=False)


def pack(
    tree: SourceTree, target_folder: Path, manifest: Mapping[str, Any],
    distributions: Sequence[str] = (),
) -> Archive:
    """Pack a tree, and installed distributions with all that they require, into a folder."""
    contents = {name: tree.path(name) for name in tree.files()}
    contents |= {f"{PACKAGES}/{name}": path for name, path in packages(distributions).items()}
    said = json.dumps(manifest, sort_keys=True, indent=2, allow_nan=False).encode() + b"\n"
    draft = target_folder / f".{os.getpid()}.{uuid.uuid4().hex[:8]}.draft"
    try:
        target_folder.mkdir(parents=True, exist_ok=True)
        sweep(target_folder)
        _write(draft, contents, said)
        digest = digest_of(draft)
        path = draft.replace(target_folder / file_name(digest))
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        message = f"The archive cannot be packed in {target_folder}: {named}{error.strerror}."
        raise SluiceError(message, "Free some disk space, or check who may use it.") from error
    finally:
        draft.unlink(missing_ok=True)
    return Archive(digest, path, path.stat().st_size, json.loads(said))


def read_archive(path: Path) -> Archive:
    """Return what an archive says of itself, and its hash."""
    try:
        digest = digest_of(path)
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST))
    except OSError as error:
        message = f"The archive {path} cannot be read: {error.strerror}."
        raise SluiceError(message, "Check the path, and who may read it.") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, RuntimeError) as error:
        message = f"{path} is damaged, or no archive of job code: {error}."
        raise RefusedError(message, "Fetch it anew from the store of archives.") from error
    return Archive(digest, path, path.stat().st_size, manifest)


def _write(draft: Path, contents: Mapping[str, Path], manifest: bytes) -> None:
    # Names sort by code point, whatever the locale.
    with zipfile.ZipFile(draft, "x", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name in sorted([*contents, MANIFEST]):
            path = contents.get(name)
            if path is None:
                with archive.open(name, "w") as target:
                    target.write(manifest)
                _finish(archive, name, executable=False)
                continue
            with path.open("rb") as source:
                status = os.fstat(source.fileno())
                _copy(archive, name, source, status.st_size)
            # The owner's bit alone: it is the only one that no umask takes away.
            _finish(archive, name, executable=bool(status.st_mode & stat.S_IXUSR))


def _copy(archive: zipfile.ZipFile, name: str, source: BinaryIO, size: int) -> None:
    # By its name, not by a ZipInfo of our own: so the level holds and the time is 1980.
    with archive.open(name, "w", force_zip64=size >= _HUGE) as target:
        shutil.copyfileobj(source, target, _CHUNK)


def _finish(archive: zipfile.ZipFile, name: str, *, executable: bool) -> None:
    # Both stand only in the directory, which is written at the end.
    entry = archive.getinfo(name)
    entry.create_system = _UNIX
    entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
