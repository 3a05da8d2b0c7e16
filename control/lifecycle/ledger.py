"""Operations and their steps, as the database remembers them."""

import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import psycopg

from control.database import person
from control.errors import RefusedError
from control.lifecycle.book import Book, as_json
from control.lifecycle.words import Event, Kind, OperationState, Step

# An event of an operation, which has the person and the reason: its job's name, the operation, what
# happened, in words.
TELL = "INSERT INTO control.job_events (job, operation, kind, detail) VALUES (%s, %s, %s, %s)"

_TELL_ALL = (
    "INSERT INTO control.job_events (job, operation, kind, detail, person, host, reason,"
    " savepoint) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)
_COLUMNS = "number, job, kind, state, plan, person, host, reason, outcome, begun_at, ended_at"


@dataclass(frozen=True)
class Operation:
    """One run of a command that changes a job."""

    number: int
    job: str
    kind: Kind
    state: OperationState
    plan: Mapping[str, Any]
    person: str
    host: str
    reason: str
    outcome: str
    begun_at: datetime
    ended_at: datetime | None

    @property
    def title(self) -> str:
        """How it is called in messages."""
        return (f"{self.kind} {self.number} of {self.job} by {self.person}@{self.host},"
                f" begun {self.begun_at:%Y-%m-%d %H:%M:%S} UTC")


@dataclass(frozen=True)
class StepRow:
    """A step of an operation: what was meant, and what came of it."""

    step: Step
    state: str
    intention: Mapping[str, Any]
    result: Mapping[str, Any] | None
    begun_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class EventRow:
    """Something that happened to a job."""

    at: datetime
    job: str
    operation: int | None
    event: Event
    detail: str
    # Who did it, from where, and why.
    person: str = ""
    host: str = ""
    reason: str = ""
    # What it happened to.
    savepoint: int | None = None

    @property
    def who(self) -> str:
        """Who did it, and from where, as far as that was written down."""
        return f"{self.person}@{self.host}" if self.person else ""


class Steps(Protocol):
    """Where the steps of operations are written down."""

    def steps(self, operation: int) -> list[StepRow]:
        """Return an operation's steps in order."""

    def intend(self, operation: int, step: Step, intention: Mapping[str, Any]) -> None:
        """Write down what is about to be done."""

    def end_step(
        self, operation: int, step: Step, result: Mapping[str, Any], *, good: bool
    ) -> None:
        """Write down what came of it."""

    def tell(self, job: str, event: Event, detail: str, operation: int | None = None) -> None:
        """Write down that something happened."""


class Ledger:
    """Reads and writes operations."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def begin(self, job: str, kind: Kind, plan: Mapping[str, Any], reason: str) -> Operation:
        """Write a new operation down; refused while another one of the job is not over."""
        token = uuid.uuid4().hex
        try:
            self._book.ask(
                "INSERT INTO control.operations (job, kind, token, state, plan, person, host,"
                " reason) VALUES (%s, %s, %s, 'running', %s, %s, %s, %s)"
                " ON CONFLICT (token) DO NOTHING",
                [job, kind.value, token, as_json(plan), person(), socket.gethostname(), reason],
            )
        except psycopg.errors.UniqueViolation as error:
            other = self.unfinished(job)
            # Ours may have been written although its answer was lost.
            if other is None or not self._is(other.number, token):
                raise busy(other, job) from error
        rows = self._book.ask(
            f"SELECT {_COLUMNS} FROM control.operations WHERE token = %s",  # noqa: S608
            [token],
        )
        return _operation(rows[0])

    def refuse(
        self, job: str, kind: Kind, plan: Mapping[str, Any], reason: str, outcome: str
    ) -> None:
        """Write down that somebody wanted something, and why it was not begun."""
        self._book.ask(
            "INSERT INTO control.operations (job, kind, token, state, plan, person, host, reason,"
            " outcome, ended_at) VALUES (%s, %s, %s, 'refused', %s, %s, %s, %s, %s,"
            " clock_timestamp()) ON CONFLICT (token) DO NOTHING",
            [job, kind.value, uuid.uuid4().hex, as_json(plan), person(), socket.gethostname(),
             reason, outcome],
        )

    def _is(self, number: int, token: str) -> bool:
        return bool(self._book.ask(
            "SELECT 1 FROM control.operations WHERE number = %s AND token = %s", [number, token]
        ))

    def end(self, number: int, state: OperationState, outcome: str) -> None:
        """Write down how an operation ended."""
        self._book.ask(
            "UPDATE control.operations SET state = %s, outcome = %s, ended_at = clock_timestamp()"
            " WHERE number = %s AND state = 'running'",
            [state.value, outcome, number],
        )

    def unfinished(self, job: str) -> Operation | None:
        """Return the operation of a job that is not over."""
        rows = self._book.ask(
            f"SELECT {_COLUMNS} FROM control.operations"  # noqa: S608 - a constant
            " WHERE job = %s AND state = 'running'", [job],
        )
        return _operation(rows[0]) if rows else None

    def all_unfinished(self) -> list[Operation]:
        """Return the operations of all jobs that are not over."""
        rows = self._book.ask(
            f"SELECT {_COLUMNS} FROM control.operations"  # noqa: S608 - a constant
            " WHERE state = 'running' ORDER BY number"
        )
        return [_operation(row) for row in rows]

    def operation(self, number: int) -> Operation | None:
        """Return an operation."""
        rows = self._book.ask(
            f"SELECT {_COLUMNS} FROM control.operations WHERE number = %s",  # noqa: S608
            [number],
        )
        return _operation(rows[0]) if rows else None

    def history(
        self, job: str | None, limit: int, kind: Kind | None = None
    ) -> list[Operation]:
        """Return the last operations, of one kind or all, the newest first."""
        rows = self._book.ask(
            f"SELECT {_COLUMNS} FROM control.operations"  # noqa: S608 - a constant
            " WHERE (%(job)s::text IS NULL OR job = %(job)s)"
            " AND (%(kind)s::text IS NULL OR kind = %(kind)s)"
            " ORDER BY number DESC LIMIT %(limit)s",
            {"job": job, "kind": kind.value if kind else None, "limit": limit},
        )
        return [_operation(row) for row in rows]

    def steps(self, operation: int) -> list[StepRow]:
        """Return an operation's steps in order."""
        rows = self._book.ask(
            "SELECT name, state, intention, result, begun_at, ended_at"
            " FROM control.operation_steps WHERE operation = %s ORDER BY place", [operation],
        )
        return [StepRow(Step(name), *rest) for name, *rest in rows]

    def intend(self, operation: int, step: Step, intention: Mapping[str, Any]) -> None:
        """Write down what is about to be done."""
        self._book.ask(
            "INSERT INTO control.operation_steps (operation, place, name, state, intention)"
            " SELECT %(operation)s, coalesce(max(place), 0) + 1, %(step)s, 'intended', %(meant)s"
            " FROM control.operation_steps WHERE operation = %(operation)s"
            " ON CONFLICT (operation, name) DO NOTHING",
            {"operation": operation, "step": step.value, "meant": as_json(intention)},
        )

    def end_step(
        self, operation: int, step: Step, result: Mapping[str, Any], *, good: bool
    ) -> None:
        """Write down what came of it."""
        self._book.ask(
            "UPDATE control.operation_steps SET state = %s, result = %s,"
            " ended_at = clock_timestamp() WHERE operation = %s AND name = %s",
            ["done" if good else "failed", as_json(result), operation, step.value],
        )

    def tell(
        self, job: str, event: Event, detail: str, operation: int | None = None, *,
        savepoint: int | None = None, reason: str = "",
    ) -> None:
        """Write down that something happened, and who did it."""
        self._book.ask(_TELL_ALL, [job, operation, event.value, detail, person(),
                                   socket.gethostname(), reason, savepoint])

    def events(
        self, job: str | None = None, operation: int | None = None, limit: int = 100, *,
        savepoint: int | None = None, event: Event | None = None,
    ) -> list[EventRow]:
        """Return the last things that happened, the oldest first."""
        rows = self._book.ask(
            "SELECT at, job, operation, kind, detail, person, host, reason, savepoint"
            " FROM control.job_events"
            " WHERE (%(job)s::text IS NULL OR job = %(job)s)"
            " AND (%(operation)s::bigint IS NULL OR operation = %(operation)s)"
            " AND (%(savepoint)s::bigint IS NULL OR savepoint = %(savepoint)s)"
            " AND (%(kind)s::text IS NULL OR kind = %(kind)s)"
            " ORDER BY number DESC LIMIT %(limit)s",
            {"job": job, "operation": operation, "savepoint": savepoint,
             "kind": event.value if event else None, "limit": limit},
        )
        return [EventRow(at, name, number, Event(kind), *rest)
                for at, name, number, kind, *rest in reversed(rows)]


def busy(other: Operation | None, job: str) -> RefusedError:
    """Return the refusal of a second operation: it names the first."""
    if other is None:
        return RefusedError(f"Another operation on {job} has just ended.", "Try again.")
    return RefusedError(
        f"{other.title} is not over.",
        f"Wait for it. If its command was killed: `sluice resume {job}` finishes or undoes it.",
    )


def _operation(row: tuple[Any, ...]) -> Operation:
    number, job, kind, state, *rest = row
    return Operation(number, job, Kind(kind), OperationState(state), *rest)
