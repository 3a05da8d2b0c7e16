"""Fetch what the stack runs from a Maven repository: pinned, checked, cached, resumable."""

import fcntl
import hashlib
import http.client
import json
import shutil
import ssl
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from threading import Event

# Maven Central's address is kept by the library that knows Maven repositories.
from jgo.constants import MAVEN_CENTRAL_URL

from control.errors import SluiceError

_LOCK_FILE = Path(__file__).with_name("artifacts.lock.json")
_CHUNK = 1 << 18
_TRIES = 3
_TIMEOUT_SECONDS = 30
_PARALLEL = 6

Progress = Callable[[int], None]


@dataclass(frozen=True)
class PinnedFile:
    """One file of a Maven repository, with the content that it must have."""

    coordinates: str
    size: int
    sha256: str

    @property
    def path(self) -> str:
        """The file's path below the base address of a repository."""
        parts, _, extension = self.coordinates.partition("@")
        group, artifact, version, *classifier = parts.split(":")
        name = "-".join([artifact, version, *classifier])
        return f"{group.replace('.', '/')}/{artifact}/{version}/{name}.{extension}"


@dataclass(frozen=True)
class Artifact:
    """What one server is made of."""

    name: str
    version: str
    files: tuple[PinnedFile, ...]


def load_artifacts(lock: Path = _LOCK_FILE) -> dict[str, Artifact]:
    """Read the list of everything that may be downloaded."""
    content = json.loads(lock.read_text(encoding="utf-8"))
    return {
        name: Artifact(name, entry["version"], tuple(PinnedFile(**file) for file in entry["files"]))
        for name, entry in content.items()
    }


class ArtifactCache:
    """The downloads of all stacks of this checkout."""

    def __init__(self, folder: Path, base_url: str = "") -> None:
        self._folder = folder
        self._base_url = (base_url or MAVEN_CENTRAL_URL).rstrip("/")
        self._stopping = Event()

    def missing(self, artifacts: list[Artifact]) -> list[PinnedFile]:
        """Return the files that are not here yet."""
        files = [file for artifact in artifacts for file in artifact.files]
        return [file for file in files if not self._is_here(file)]

    def fetch(self, files: list[PinnedFile], progress: Progress) -> None:
        """Download files side by side; `progress` is told of each piece of bytes."""
        self._stopping.clear()
        with ThreadPoolExecutor(_PARALLEL) as pool:
            # The largest first, so that none of them starts when the others are done.
            ordered = sorted(files, key=lambda file: -file.size)
            try:
                for done in [pool.submit(self._fetch_one, file, progress) for file in ordered]:
                    done.result()
            except BaseException:
                # A failure or a Ctrl-C is told before everything else was fetched.
                self._stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def jars(self, artifact: Artifact) -> list[Path]:
        """Return where the files of an artifact lie."""
        return [self._target(file) for file in artifact.files]

    def unpacked(self, artifact: Artifact, into: Path | None = None) -> Path:
        """Return the folder of an artifact that is one archive, unpacking it where needed."""
        folder = (into or self._folder) / f"{artifact.name}-{artifact.version}"
        with _exclusive(folder.with_name(f".{folder.name}.lock")):
            if not folder.exists():
                draft = folder.with_name(f".{folder.name}.draft")
                shutil.rmtree(draft, ignore_errors=True)
                self._unpack_draft(self._target(artifact.files[0]), draft)
                # Archives carry one top folder or none.
                inner = list(draft.iterdir())
                single = len(inner) == 1 and inner[0].is_dir()
                (inner[0] if single else draft).rename(folder)
                shutil.rmtree(draft, ignore_errors=True)
        return folder

    @staticmethod
    def _unpack_draft(archive: Path, draft: Path) -> None:
        try:
            _unpack(archive, draft)
        except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            shutil.rmtree(draft, ignore_errors=True)
            message = f"{archive} cannot be unpacked: {error}."
            hint = "Free some disk space; if the file itself is broken, delete it and try again."
            raise SluiceError(message, hint) from error

    def _target(self, file: PinnedFile) -> Path:
        return self._folder / "maven" / file.path

    def _is_here(self, file: PinnedFile) -> bool:
        target = self._target(file)
        # The content was checked before the file got its name.
        return target.exists() and target.stat().st_size == file.size

    def _fetch_one(self, file: PinnedFile, progress: Progress) -> None:
        target = self._target(file)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _exclusive(target.with_name(f".{target.name}.lock")):
                if self._is_here(file):
                    progress(file.size)
                    return
                part = target.with_name(f"{target.name}.part")
                self._download(file, part, progress)
                part.replace(target)
        except OSError as error:
            message = f"{target} cannot be written: {error.strerror or error}."
            raise SluiceError(message, "Free some disk space, or set SLUICE_CACHE.") from error

    def _download(self, file: PinnedFile, part: Path, progress: Progress) -> None:
        url = f"{self._base_url}/{file.path}"
        problem = ""
        for _ in range(_TRIES):
            try:
                self._transfer(url, file, part, progress)
            except (urllib.error.HTTPError, ConnectionError) as error:
                problem = str(error)
                gone = getattr(error, "code", None) == HTTPStatus.NOT_FOUND
                if gone or self._stopping.is_set():
                    break
                continue
            digest = _sha256(part)
            if digest == file.sha256:
                return
            # A resumed download may have been a part of something else: start it anew.
            got = part.stat().st_size
            part.unlink()
            progress(-got)
            problem = (
                f"its checksum is wrong (expected sha256 {file.sha256}, got {digest});"
                " the file was thrown away"
            )
        message = f"{url} cannot be fetched: {problem}."
        hint = (
            "Check the network or the mirror, then try again: it goes on where it stopped."
            " SLUICE_MAVEN_URL sets the address of a mirror."
        )
        raise SluiceError(message, hint)

    def _transfer(self, url: str, file: PinnedFile, part: Path, progress: Progress) -> None:
        have = part.stat().st_size if part.exists() else 0
        if have > file.size:
            part.unlink()
            have = 0
        progress(have)
        if have == file.size:
            return
        counted = have
        try:
            with _ask(url, have) as response:
                resumed = response.status == HTTPStatus.PARTIAL_CONTENT
                if have and not resumed:
                    progress(-have)
                    counted = 0
                with part.open("ab" if resumed else "wb") as out:
                    while chunk := _read(response):
                        out.write(chunk)
                        counted += len(chunk)
                        progress(len(chunk))
                        if self._stopping.is_set():
                            reason = "interrupted"
                            raise ConnectionError(reason)
        except (urllib.error.HTTPError, ConnectionError) as error:
            progress(-counted)
            if getattr(error, "code", None) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                # What is here cannot be the beginning of what is there.
                part.unlink()
            raise
        if counted < file.size:
            progress(-counted)
            reason = f"the connection ended after {counted} of {file.size} bytes"
            raise ConnectionError(reason)


# Whatever breaks in these two is the network, TLS and routes included: whoever calls them takes
# any other OSError for the disk.
def _ask(url: str, offset: int) -> http.client.HTTPResponse:
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the operator's setting
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(  # noqa: S310
            request, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error))
        raise ConnectionError(reason) from error
    return answer


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        reason = f"the connection broke: {error}"
        raise ConnectionError(reason) from error


def _unpack(archive: Path, into: Path) -> None:
    into.mkdir(parents=True)
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as content:
            for entry in content.infolist():
                path = Path(content.extract(entry, into))
                # ZipFile drops the modes; without them no script inside can be run.
                if mode := (entry.external_attr >> 16) & 0o777:
                    path.chmod(mode)
    else:
        with tarfile.open(archive) as content:
            content.extractall(into, filter="data")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """Keep two stacks that start at once from writing the same file."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
