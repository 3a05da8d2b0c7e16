"""What was done about letters, as the database remembers it."""

import json
import socket
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from control.database import Connection, connect, person
from control.db.lease import Lease
from control.dlq.letter import Letter, LetterId, State
from control.errors import SluiceError

# Replay and discard take turns. It is renewed with every batch; a run that was killed is in
# nobody's way for longer than this.
LEASE = "dlq"
LEASE_SECONDS = 30

# One look into the index for each letter: a join may read the whole table for each page.
_LATEST = """
    SELECT asked.partition, asked."offset", latest.action
      FROM unnest(%s::integer[], %s::bigint[], %s::timestamptz[])
           AS asked (partition, "offset", time)
     CROSS JOIN LATERAL (
           SELECT action FROM control.letter_actions
            WHERE letter_partition = asked.partition AND letter_offset = asked."offset"
              AND letter_time = asked.time
            ORDER BY number DESC LIMIT 1
           ) AS latest
"""

_INSERT = """
    INSERT INTO control.letter_actions
           (letter_partition, letter_offset, letter_time, attempt, action, operation)
    SELECT *, %s, %s
      FROM unnest(%s::integer[], %s::bigint[], %s::timestamptz[], %s::integer[])
"""

_HISTORY = """
    SELECT action, attempt, operation, acted_at, person, host, note
      FROM control.letter_actions JOIN control.letter_operations ON id = operation
     WHERE letter_partition = %s AND letter_offset = %s AND letter_time = %s
     ORDER BY number
"""

_UNFINISHED = """
    SELECT operation, raw_ends, letter_partition, letter_offset, attempt
      FROM control.letter_actions JOIN control.letter_operations ON id = operation
     WHERE action = 'replaying' ORDER BY operation, number
"""

_END = """
    UPDATE control.letter_actions SET action = %s, acted_at = clock_timestamp()
      FROM unnest(%s::integer[], %s::bigint[]) AS ended (partition, "offset")
     WHERE action = 'replaying' AND operation = %s
       AND letter_partition = ended.partition AND letter_offset = ended."offset"
"""

_STATES = {
    "replayed": State.REPLAYED, "discarded": State.DISCARDED, "lost": State.UNKNOWN,
}


@dataclass(frozen=True)
class Action:
    """Something that was done about a letter."""

    action: str
    attempt: int | None
    operation: str
    time: datetime
    person: str
    host: str
    note: str


@dataclass(frozen=True)
class Unfinished:
    """The batch of a replay that was cut off."""

    operation: str
    # Where the partitions of events.raw ended before it was sent.
    raw_ends: dict[int, int]
    # Each letter's attempt.
    letters: dict[LetterId, int]


class Book:
    """Reads and writes what was done about letters."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def states(self, letters: Sequence[Letter]) -> dict[LetterId, State]:
        """Return the state of each letter."""
        if not letters:
            return {}
        rows = self.connection.execute(_LATEST, _columns(letters)).fetchall()
        latest = {LetterId(partition, offset): action for partition, offset, action in rows}
        way = State.UNKNOWN
        if "replaying" in latest.values() and self._somebody_works():
            way = State.REPLAYING
        return {
            letter.id: _STATES.get(action, way) if (action := latest.get(letter.id))
            else State.OPEN for letter in letters
        }

    def history(self, letter: Letter) -> list[Action]:
        """Return what was done about a letter, the oldest first."""
        rows = self.connection.execute(
            _HISTORY, [letter.id.partition, letter.id.offset, letter.time]
        ).fetchall()
        return [Action(*row) for row in rows]

    def begin(self, command: str, note: str = "") -> str:
        """Note a new operation; return its id."""
        operation = uuid.uuid4().hex
        self.connection.execute(
            "INSERT INTO control.letter_operations (id, command, person, host, note)"
            " VALUES (%s, %s, %s, %s, %s)",
            [operation, command, person(), socket.gethostname(), note],
        )
        return operation

    def intend(
        self, held: Lease, operation: str, letters: Sequence[Letter], raw_ends: dict[int, int]
    ) -> None:
        """Write down that letters are about to be sent, while the lease is still ours."""
        with self.connection.transaction():
            self.renew(held)
            self.connection.execute(
                "UPDATE control.letter_operations SET raw_ends = %s::jsonb WHERE id = %s",
                [json.dumps(raw_ends), operation],
            )
            self._insert("replaying", operation, letters)

    def discard(self, held: Lease, operation: str, letters: Sequence[Letter]) -> None:
        """Write down that letters need nothing."""
        with self.connection.transaction():
            self.renew(held)
            self._insert("discarded", operation, letters)

    def note_written(self, held: Lease, operation: str, letters: Sequence[Letter]) -> None:
        """Write down that events are in the store that had refused them."""
        with self.connection.transaction():
            self.renew(held)
            self._insert("replayed", operation, letters)

    def unfinished(self) -> list[Unfinished]:
        """Return the batches whose fate is not known, or that are on their way right now."""
        found: dict[str, Unfinished] = {}
        for operation, ends, *letter, attempt in self.connection.execute(_UNFINISHED).fetchall():
            batch = found.setdefault(operation, Unfinished(
                operation, {int(part): end for part, end in (ends or {}).items()}, {}
            ))
            batch.letters[LetterId(*letter)] = attempt
        return list(found.values())

    def mark_replayed(self, operation: str, letters: Iterable[LetterId]) -> None:
        """Write down that what was intended is done."""
        self._end(operation, letters, "replayed")

    def settle(
        self, held: Lease, operation: str, sent: Iterable[LetterId], lost: Iterable[LetterId]
    ) -> None:
        """Write down what became of a batch; what was neither sent nor lost is open again."""
        with self.connection.transaction():
            self.renew(held)
            self._end(operation, sent, "replayed")
            self._end(operation, lost, "lost")
            self.connection.execute(
                "DELETE FROM control.letter_actions"
                " WHERE operation = %s AND action = 'replaying'", [operation],
            )

    def renew(self, held: Lease) -> None:
        """Extend the lease, or fail when somebody else has it."""
        held.renew(self.connection)

    def _end(self, operation: str, letters: Iterable[LetterId], action: str) -> None:
        ids = list(letters)
        self.connection.execute(_END, [
            action, [one.partition for one in ids], [one.offset for one in ids], operation,
        ])

    def _somebody_works(self) -> bool:
        return self.connection.execute(
            "SELECT 1 FROM control.leases WHERE name = %s AND expires_at > clock_timestamp()",
            [LEASE],
        ).fetchone() is not None

    def _insert(self, action: str, operation: str, letters: Sequence[Letter]) -> None:
        attempts = [None if action == "discarded" else letter.attempt + 1 for letter in letters]
        self.connection.execute(_INSERT, [action, operation, *_columns(letters), attempts])


@contextmanager
def open_book(dsn: SecretStr) -> Iterator[Book]:
    """Open the book, or say that it has not been made yet."""
    with connect(dsn) as connection:
        row = connection.execute("SELECT to_regclass('control.letter_actions')").fetchone()
        if row is None or row[0] is None:
            message = "The database has no tables for dead letters yet."
            raise SluiceError(message, "Run `sluice db migrate` first.")
        yield Book(connection)


def _columns(letters: Sequence[Letter]) -> list[object]:
    return [
        [letter.id.partition for letter in letters], [letter.id.offset for letter in letters],
        [letter.time for letter in letters],
    ]

