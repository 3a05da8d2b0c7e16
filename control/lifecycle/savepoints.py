"""Savepoints, as the database remembers them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from control.lifecycle.addresses import normal
from control.lifecycle.book import Book
from control.lifecycle.words import Origin, SavepointState

_COLUMNS = (
    "number, job, deployment, operation, flink_job, trigger, path, origin, state, bytes,"
    " begun_at, completed_at, verified, verified_at, note"
)


@dataclass(frozen=True)
class Savepoint:
    """A snapshot of a job's state that somebody wants to keep."""

    number: int
    job: str
    deployment: int | None
    operation: int | None
    flink_job: str
    trigger: str | None
    path: str | None
    origin: Origin
    state: SavepointState
    size: int | None
    begun_at: datetime
    completed_at: datetime | None
    # "", "read" or "restored".
    verified: str
    verified_at: datetime | None
    note: str


class Savepoints:
    """Reads and writes savepoints."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def begin(
        self, job: str, flink_job: str, trigger: str, origin: Origin,
        deployment: int | None, operation: int | None = None,
    ) -> int:
        """Write down that a savepoint is about to be triggered; return its number."""
        rows = self._book.ask(
            "INSERT INTO control.savepoints (job, flink_job, trigger, origin, state, deployment,"
            " operation) VALUES (%s, %s, %s, %s, 'pending', %s, %s)"
            " ON CONFLICT (trigger) DO UPDATE SET trigger = excluded.trigger RETURNING number",
            [job, flink_job, trigger, origin.value, deployment, operation],
        )
        return int(rows[0][0])

    def complete(self, trigger: str, path: str, size: int | None) -> None:
        """Write down that a savepoint is there."""
        self._book.ask(
            "UPDATE control.savepoints SET state = 'there', path = %s, bytes = %s,"
            " completed_at = clock_timestamp() WHERE trigger = %s AND state = 'pending'",
            [path, size, trigger],
        )

    def fail(self, trigger: str, note: str) -> None:
        """Write down that none came of it."""
        self._book.ask(
            "UPDATE control.savepoints SET state = 'failed', note = %s"
            " WHERE trigger = %s AND state = 'pending'", [note, trigger],
        )

    def adopt(
        self, job: str, flink_job: str, path: str, origin: Origin,
        deployment: int | None, operation: int | None, size: int | None,
    ) -> int:
        """Write down a snapshot that is there already, a kept checkpoint; return its number."""
        rows = self._book.ask(
            "INSERT INTO control.savepoints (job, flink_job, path, origin, state, deployment,"
            " operation, bytes, completed_at) VALUES (%s, %s, %s, %s, 'there', %s, %s, %s,"
            " clock_timestamp()) ON CONFLICT (path) DO UPDATE SET path = excluded.path"
            " RETURNING number",
            [job, flink_job, path, origin.value, deployment, operation, size],
        )
        return int(rows[0][0])

    def set_state(self, number: int, state: SavepointState, note: str = "") -> None:
        """Write down what became of it."""
        self._book.ask(
            "UPDATE control.savepoints SET state = %s, note = %s WHERE number = %s",
            [state.value, note, number],
        )

    def verified(self, number: int, how: str, size: int | None) -> None:
        """Write down that it was proven to be good."""
        self._book.ask(
            "UPDATE control.savepoints SET verified = %s, verified_at = clock_timestamp(),"
            " bytes = coalesce(%s, bytes) WHERE number = %s", [how, size, number],
        )

    def get(self, number: int) -> Savepoint | None:
        """Return a savepoint."""
        return self._one("number = %s", [number])

    def at(self, path: str) -> Savepoint | None:
        """Return the savepoint that lies at a path, however that is written."""
        return self._one("path = ANY(%s)", [[path, normal(path)]])

    def of_flink_job(self, flink_job: str) -> list[Savepoint]:
        """Return the last savepoints of one Flink job, the newest first."""
        return self._many("flink_job = %s", [flink_job], 1000)

    def all(
        self, job: str | None = None, limit: int = 100, *, there_only: bool = False
    ) -> list[Savepoint]:
        """Return the last savepoints, the newest first."""
        return self._many(
            "(%s::text IS NULL OR job = %s) AND (NOT %s OR state = 'there')",
            [job, job, there_only], limit,
        )

    def pending(self, job: str) -> list[Savepoint]:
        """Return savepoints that were triggered and of which no end is known."""
        return self._many("job = %s AND state = 'pending'", [job], 100)

    def _one(self, condition: str, values: list[Any]) -> Savepoint | None:
        return next(iter(self._many(condition, values, 1)), None)

    def _many(self, condition: str, values: list[Any], limit: int) -> list[Savepoint]:
        rows = self._book.ask(
            f"SELECT {_COLUMNS} FROM control.savepoints"  # noqa: S608 - constants of this module
            f" WHERE {condition} ORDER BY number DESC LIMIT %s", [*values, limit],
        )
        return [_savepoint(row) for row in rows]


def _savepoint(row: tuple[Any, ...]) -> Savepoint:
    (number, job, deployment, operation, flink_job, trigger, path, origin, state, *rest) = row
    return Savepoint(number, job, deployment, operation, flink_job, trigger, path,
                     Origin(origin), SavepointState(state), *rest)
