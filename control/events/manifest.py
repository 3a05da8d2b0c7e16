"""The manifest of a run: a line of JSON for each message that may have been sent."""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from control.errors import SluiceError
from control.events.traffic import Message


class Manifest:
    """Lists messages before they are sent.

    Each write ends in the operating system's hands: a process that is killed has thus listed every
    message that it may have sent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = _Lines()
        # Where the last chunk begins, and where each of its lines ends.
        self._start = 0
        self._ends: list[int] = [0]
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise self._error(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            os.close(self._file)
        except OSError as error:
            # Some file systems say only now that they are full; an earlier error says more.
            if kind is None:
                raise self._error(error) from error

    def write(self, messages: Sequence[Message]) -> None:
        """List messages that are about to be sent."""
        self._start = self._ends[-1]
        end = self._start
        self._ends = []
        lines = []
        for message in messages:
            # All of it is ASCII: as many bytes as letters.
            line = self._lines.line(message)
            lines.append(line)
            end += len(line)
            self._ends.append(end)
        left = memoryview("".join(lines).encode("ascii"))
        try:
            while left:
                left = left[os.write(self._file, left):]
        except OSError as error:
            self.keep(0)
            raise self._error(error) from error

    def keep(self, count: int) -> None:
        """Keep only the first lines of the last chunk: the other messages were not sent."""
        end = self._ends[count - 1] if count else self._start
        self._ends = [end]
        # A pipe cannot be cut; what it says too much is allowed: these might have been sent.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)

    def _error(self, error: OSError) -> SluiceError:
        message = f"The manifest {self._path} cannot be written: {error.strerror}."
        return SluiceError(message, "Choose a place with room: a million messages take 200 MB.")


class _Lines:
    """Renders lines. Times share their second's text: rendering it costs more than all the rest."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def line(self, message: Message) -> str:
        """Return a message's line."""
        kind = message.kind
        event_id, tenant = message.event_id, message.tenant_id
        if message.reason is None:
            # json.dumps takes four times as long; the ids of sound events need no care.
            return (
                f'{{"event_id": "{event_id}", "kind": "{kind}", "tenant_id": "{tenant}", '
                f'"occurred_at": {self._time(message.occurred_at)}, "expect": "{kind.expect}"}}\n'
            )
        # Poison has no id: its digest tells it from the others in the dead letters.
        digest = hashlib.sha256(message.value).hexdigest()
        return (
            f'{{"event_id": {json.dumps(event_id)}, "kind": "{kind}", '
            f'"tenant_id": {json.dumps(tenant)}, '
            f'"occurred_at": {self._time(message.occurred_at)}, "expect": "{kind.expect}", '
            f'"reason": "{message.reason}", "detail": "{message.detail}", "sha256": "{digest}"}}\n'
        )

    def _time(self, micros: int | None) -> str:
        if micros is None:
            return "null"
        second, rest = divmod(micros, 1_000_000)
        if second != self._second:
            self._second = second
            self._text = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
        return f'"{self._text}.{rest:06d}Z"'
