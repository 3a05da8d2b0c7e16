"""Writer schemas by their ids: from memory, from the registry, from disk while it is away.

The disk is not asked first: a registry that was made anew gives the same ids to other schemas.
"""

import hashlib
import json
import logging
import os
import random
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from udfs.contract import Schema
from udfs.reasons import Reason, RejectedError

_LOG = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
# An id that the registry did not know may be registered a moment later; hostile bytes must not
# make it answer the same question for every message.
_UNKNOWN_SECONDS = 10.0
_MOST_UNKNOWN = 10_000
# The Confluent API's own code below a 404.
_NO_SUCH_SCHEMA = 40403


class RegistryAwayError(Exception):
    """The registry does not answer; the same question may be asked again."""


class StoppedError(Exception):
    """The job was told to stop while it waited for the registry."""


@dataclass(frozen=True)
class RegistryAddress:
    """Where the registry is; its password is not a part of what is shown."""

    url: str

    def __repr__(self) -> str:
        return "RegistryAddress(...)"


def fetch_schema(address: RegistryAddress, number: int) -> Schema | None:
    """Ask the registry for a schema; None when it has no such id."""
    request = _request(address, f"/schemas/ids/{number}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return _schema(json.load(answer))
    except urllib.error.HTTPError as error:
        # A proxy before nothing, or a wrong path, says 404 as well.
        if error.code == HTTPStatus.NOT_FOUND and _says_no_such_schema(error):
            return None
        reason = f"it answered {error.code}"
        raise RegistryAwayError(reason) from error
    except (OSError, ValueError, KeyError) as error:
        raise RegistryAwayError(str(getattr(error, "reason", error))) from error


def _says_no_such_schema(error: urllib.error.HTTPError) -> bool:
    try:
        return bool(json.load(error).get("error_code") == _NO_SUCH_SCHEMA)
    except (OSError, ValueError, AttributeError):
        return False


def _request(address: RegistryAddress, path: str) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(address.url)
    host = parts.netloc.rpartition("@")[2]
    url = urllib.parse.urlunsplit(parts._replace(netloc=host)).rstrip("/") + path
    request = urllib.request.Request(url)  # noqa: S310 - the operator's setting
    if parts.username:
        pair = ":".join(map(urllib.parse.unquote, (parts.username, parts.password or "")))
        request.add_header("Authorization", f"Basic {b64encode(pair.encode()).decode()}")
    return request


def _schema(answer: Any) -> Schema:
    if answer.get("schemaType", "AVRO") != "AVRO":
        raise RejectedError(Reason.WRONG_RECORD, "the schema is not Avro's")
    schema = json.loads(answer["schema"])
    if not isinstance(schema, dict):
        raise RejectedError(Reason.WRONG_RECORD, "the schema is no record")
    return schema


class SchemaStore:
    """Finds writer schemas, and waits while the registry is away."""

    def __init__(
        self,
        address: RegistryAddress,
        folder: Path | None = None,
        stopped: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._folder = cache_folder(address) if folder is None else folder
        self._stopped = stopped
        self._sleep = sleep
        self._clock = clock
        self._known: dict[int, Schema] = {}
        self._unknown: dict[int, float] = {}
        # Read by a gauge: seconds matter less than that it is not zero.
        self.waiting_since = 0.0

    def schema(self, number: int) -> Schema:
        """Return a schema; an id that nobody knows is a reason to reject the message."""
        if (schema := self._known.get(number)) is not None:
            return schema
        if self._clock() - self._unknown.get(number, -_UNKNOWN_SECONDS) < _UNKNOWN_SECONDS:
            raise _no_such(number)
        found = self._ask(number)
        if found is None:
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[number] = self._clock()
            raise _no_such(number)
        self._known[number] = found
        return found

    def _ask(self, number: int) -> Schema | None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                found = fetch_schema(self._address, number)
            except RegistryAwayError as error:
                if (kept := self._read(number)) is not None:
                    _LOG.warning("the registry does not answer: %s; schema %d is known from"
                                 " an earlier time", error, number)
                    # Another task of this machine may have written it while we waited.
                    self.waiting_since = 0.0
                    return kept
                if not self.waiting_since:
                    self.waiting_since = time.time()
                    _LOG.warning("the registry does not answer: %s; waiting for it", error)
                self._wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            if self.waiting_since:
                waited = time.time() - self.waiting_since
                self.waiting_since = 0.0
                _LOG.warning("the registry answers again after %.0f s", waited)
            if found is not None:
                self._write(number, found)
            return found

    def _wait(self, seconds: float) -> None:
        # Jitter: all subtasks met the unknown id at the same moment.
        end = seconds * random.uniform(0.7, 1.3)  # noqa: S311 - no secret
        while end > 0:
            if self._stopped():
                raise StoppedError
            step = min(end, _FIRST_PAUSE_SECONDS)
            self._sleep(step)
            end -= step

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.json"

    def _read(self, number: int) -> Schema | None:
        try:
            content = json.loads(self._file(number).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def _write(self, number: int, schema: Schema) -> None:
        # A cache: a full disk or a folder of somebody else's must not stop the job.
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self._file(number).with_suffix(f".{os.getpid()}.{id(self)}")
            draft.write_text(json.dumps(schema), encoding="utf-8")
            draft.replace(self._file(number))
        except OSError as error:
            _LOG.info("schema %d is not kept on disk: %s", number, error)


def cache_folder(address: RegistryAddress) -> Path:
    """Return where the schemas of a registry are kept on this machine."""
    # Ids count from one in every registry: what one says must not be taken for another's.
    digest = hashlib.sha256(address.url.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sluice-schemas-{os.getuid()}" / digest


def _no_such(number: int) -> RejectedError:
    return RejectedError(Reason.UNKNOWN_SCHEMA, f"the registry has no schema {number}")
