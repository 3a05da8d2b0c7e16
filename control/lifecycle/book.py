"""The control plane's tables, asked in a way that outlives a restart of the database."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from control.database import Connection, connect
from control.errors import SluiceError

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 2.0

Row = tuple[Any, ...]
T = TypeVar("T")


class BookAwayError(SluiceError):
    """The database did not come back in time."""


class Clock(Protocol):
    """Time, so that tests need not wait for it."""

    def now(self) -> float:
        """Return seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class WallClock:
    """The real time."""

    def now(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class Book:
    """Asks the database; one that is away is waited for.

    An answer may be lost after a statement was carried out, so that each is asked again: every
    statement that is given here must be harmless when it is repeated.
    """

    def __init__(self, dsn: SecretStr, patience_seconds: float = 180) -> None:
        self._dsn = dsn
        self._patience = patience_seconds
        self._connection: Connection | None = None

    def __enter__(self) -> "Book":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Run a statement; return its rows."""
        def rows(connection: Connection) -> list[Row]:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

        return self.attempt(rows)

    def attempt(self, work: Callable[[Connection], T]) -> T:
        """Do something with a connection, again while the database is away."""
        deadline = time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return work(self._open())
            except (psycopg.OperationalError, SluiceError) as error:
                if isinstance(error, SluiceError) and not isinstance(
                    error.__cause__, psycopg.Error
                ):
                    raise
                self.close()
                if time.monotonic() > deadline:
                    message = f"The control plane's database is away: {_line(error)}"
                    hint = "Nothing is lost: `sluice resume JOB` goes on when it is back."
                    raise BookAwayError(message, hint) from error
                if pause == _FIRST_PAUSE:
                    _LOG.warning("the control plane's database is away, waiting: %s", _line(error))
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._context = connect(self._dsn)
            self._connection = self._context.__enter__()
            _require_tables(self._connection)
        return self._connection

    def close(self) -> None:
        """Let go of the connection; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _require_tables(connection: Connection) -> None:
    # The newest of what the statements of this version name.
    row = connection.execute(
        "SELECT 1 FROM information_schema.columns WHERE table_schema = 'control'"
        " AND table_name = 'job_events' AND column_name = 'savepoint'"
    ).fetchone()
    if row is None:
        message = "The database lacks tables for the control plane, or has those of an older one."
        raise SluiceError(message, "Run `sluice db migrate`.")


def as_json(value: object) -> Jsonb:
    """Return a value as the driver writes it into a jsonb column."""
    return Jsonb(value, dumps=lambda content: json.dumps(content, default=str))


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
