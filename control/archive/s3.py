"""Archives in a store that speaks S3, as objects named PREFIX/HASH.zip."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, TypeVar

import httpx

from control.archive.pack import Archive
from control.archive.s3_access import S3Access, checked_access, locate
from control.archive.s3_answers import Page, read_page, read_problem, refusal
from control.archive.s3_signing import EMPTY_HASH, encoded, encoded_query, signed
from control.archive.stored import (
    ArchiveMissingError,
    StoreAwayError,
    StoredArchives,
    damaged,
    digest_of,
    file_name,
    here_already,
    receive,
    told_of_folder,
)
from control.errors import MisuseError, SluiceError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_CHUNK = 1 << 20
_TIMEOUT = httpx.Timeout(60, connect=10)
# Between the tries: half a dozen seconds, which is what a store takes to move a partition.
_PAUSES = (0.3, 1.0, 4.0)
# Besides 5xx. The second is what S3 says when a body comes too slowly.
_TOO_MANY = 429
_PASSING_CODES = frozenset({"RequestTimeout", "SlowDown"})
_SERVER_ERRORS = 500
_MOST_KEYS = 1000
_NONE: MappingProxyType[str, str] = MappingProxyType({})


class _PassingError(Exception):
    """An answer that may be another one in a moment."""


class S3Store:
    """Archives in a bucket, below a prefix."""

    def __init__(
        self, bucket: str, prefix: str, access: S3Access | None, *, page_size: int = _MOST_KEYS,
        transport: httpx.BaseTransport | None = None, pause: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = [part for part in prefix.split("/") if part]
        if _BUCKET.fullmatch(bucket) is None or {".", ".."} & set(parts):
            message = f"s3://{bucket}/{prefix} is no address of a bucket."
            raise MisuseError(message, "Set SLUICE_ARCHIVE_STORE to s3://BUCKET/PREFIX.")
        self._access = checked_access(access)
        self._prefix = "".join(f"{part}/" for part in parts)
        self._base, self._root = locate(self._access, bucket)
        self._name = f"s3://{bucket}/{self._prefix} at {self._base.netloc.decode()}"
        self._page_size = page_size
        self._transport = transport
        self._pause = pause

    def __str__(self) -> str:
        return self._name

    def put(self, archive: Archive) -> None:
        """Keep an archive; one that is there already is left as it is."""
        try:
            if digest_of(archive.path) != archive.hash:
                raise damaged(archive.hash, str(archive.path))
            self._insist(lambda client: self._put(client, archive))
        except OSError as error:
            message = f"The archive {archive.path} cannot be read: {error.strerror}."
            raise SluiceError(message, "Deploy the job anew: that packs it again.") from error

    def get(self, archive_hash: str, into: Path) -> Path:
        """Fetch an archive into a folder and check it; return the file."""
        name = file_name(archive_hash)

        def fetch(client: httpx.Client) -> Path:
            with self._send(client, "GET", name) as response:
                if response is None:
                    raise ArchiveMissingError(archive_hash, str(self))
                return receive(response.iter_raw(_CHUNK), archive_hash, into, str(self))

        with told_of_folder(into):
            return here_already(archive_hash, into) or self._insist(fetch)

    def has(self, archive_hash: str) -> bool:
        """Tell whether an archive is there."""
        name = file_name(archive_hash)
        return self._insist(lambda client: self._size(client, name)) is not None

    def list(self) -> StoredArchives:
        """Return all archives, the newest first."""
        found: StoredArchives = []
        tokens: set[str] = set()
        token: str | None = ""
        while token is not None:
            if token in tokens:
                message = f"{self} gives the same part of its list again and again."
                raise SluiceError(message, "Check SLUICE_S3_ENDPOINT: is it a store?")
            tokens.add(token)
            page = self._page(token)
            found += page.archives
            token = page.token
        return sorted(found, key=lambda one: (one.at, one.hash), reverse=True)

    def delete(self, archive_hash: str) -> None:
        """Delete an archive; one that is not there is deleted already."""
        name = file_name(archive_hash)

        def remove(client: httpx.Client) -> None:
            with self._send(client, "DELETE", name):
                pass

        self._insist(remove)

    def _put(self, client: httpx.Client, archive: Archive) -> None:
        name = file_name(archive.hash)
        if self._size(client, name) == archive.size:
            return
        with archive.path.open("rb") as file, \
             self._send(client, "PUT", name, body=file, payload_hash=archive.hash):
            pass

    def _size(self, client: httpx.Client, name: str) -> int | None:
        with self._send(client, "HEAD", name) as response:
            return None if response is None else int(response.headers.get("content-length", -1))

    def _page(self, token: str) -> Page:
        query = {
            "list-type": "2", "delimiter": "/", "encoding-type": "url",
            "max-keys": str(self._page_size), "prefix": self._prefix,
            **({"continuation-token": token} if token else {}),
        }

        def read(client: httpx.Client) -> bytes:
            with self._send(client, "GET", "", query) as response:
                return b"" if response is None else response.read()

        return read_page(self._insist(read), str(self))

    def _insist(self, work: Callable[[httpx.Client], T]) -> T:
        """Do some work, several times where what went wrong may pass."""
        with httpx.Client(timeout=_TIMEOUT, transport=self._transport) as client:
            for pause in (*_PAUSES, None):
                try:
                    return work(client)
                except (_PassingError, httpx.TransportError) as error:
                    problem = error
                if pause is not None:
                    _log.warning("the store of archives is asked again", extra={
                        "store": str(self), "problem": str(problem), "wait_seconds": pause,
                    })
                    self._pause(pause)
        message = (
            f"{self} does not answer as it should, tried {len(_PAUSES) + 1} times:"
            f" {str(problem) or type(problem).__name__}."
        )
        hint = "Check that the store is up, the network to it, and SLUICE_S3_ENDPOINT."
        raise StoreAwayError(message, hint) from problem

    @contextmanager
    def _send(
        self, client: httpx.Client, method: str, name: str, query: Mapping[str, str] = _NONE,
        body: BinaryIO | None = None, payload_hash: str = EMPTY_HASH,
    ) -> Iterator[httpx.Response | None]:
        """Yield the answer, its body yet to be read; None where there is no such object."""
        path = f"{self._root}/{encoded(self._prefix + name, keep='/')}" if name else self._root
        asked = encoded_query(query)
        # As they stand: a compressed answer would not have the archive's hash.
        headers = {"host": self._base.netloc.decode(), "accept-encoding": "identity"}
        headers = signed(
            self._access, method, path or "/", asked, headers, payload_hash, datetime.now(UTC)
        )
        url = f"{self._base.scheme}://{headers['host']}{path or '/'}"
        with client.stream(
            method, f"{url}?{asked}" if asked else url, headers=headers, content=body
        ) as response:
            if response.is_success:
                yield response
            else:
                self._fail_unless_missing(method, response)
                yield None

    def _fail_unless_missing(self, method: str, response: httpx.Response) -> None:
        access = self._access
        problem = read_problem(response, access.secret.get_secret_value(), access.key)
        status = problem.status
        if status >= _SERVER_ERRORS or status == _TOO_MANY or problem.code in _PASSING_CODES:
            raise _PassingError(problem.words)
        if status != HTTPStatus.NOT_FOUND or (method != "HEAD" and problem.code != "NoSuchKey"):
            raise refusal(problem, str(self), response)
