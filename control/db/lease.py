"""A lease: a row with an expiry that lets one holder work at a time.

Not a session lock: the development server shares its one session between all clients, and a
holder that was killed must not block the next one for longer than the lease runs.
"""

import os
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import psycopg

from control.database import Connection, person
from control.errors import RefusedError, SluiceError

_TAKE = """
    INSERT INTO control.leases AS held (name, token, holder, expires_at)
    VALUES (%(name)s, %(token)s, %(holder)s, clock_timestamp() + %(seconds)s * interval '1 second')
    ON CONFLICT (name) DO UPDATE
       SET token = excluded.token, holder = excluded.holder, taken_at = clock_timestamp(),
           expires_at = excluded.expires_at
     WHERE held.expires_at < clock_timestamp()
    RETURNING token
"""

_RENEW = """
    UPDATE control.leases SET expires_at = clock_timestamp() + %(seconds)s * interval '1 second'
     WHERE name = %(name)s AND token = %(token)s
    RETURNING token
"""

_HOLDER = re.compile(r"@(?P<host>[^@]*), pid (?P<pid>\d+)$")


class LeaseLostError(SluiceError):
    """A lease ran out, and somebody else took it."""


@dataclass(frozen=True)
class Lease:
    """A lease that is held."""

    name: str
    token: str
    seconds: int

    def renew(self, connection: Connection) -> None:
        """Extend the lease, or fail when somebody else has taken it over.

        Inside a transaction the row stays locked until the commit: whoever finds the lease
        expired meanwhile waits there, and then sees it extended.
        """
        if connection.execute(_RENEW, vars(self)).fetchone() is None:
            message = f"The lease {self.name!r} ran out and somebody else took it."
            raise LeaseLostError(message, "Look at what they did, then run the command again.")


@contextmanager
def lease(connection: Connection, name: str, seconds: int = 300) -> Iterator[Lease]:
    """Hold a lease; refuse with the holder's name when somebody else does."""
    held = take_lease(connection, name, seconds)
    try:
        yield held
    finally:
        if not connection.closed:
            give_back(connection, held)


def take_lease(
    connection: Connection, name: str, seconds: int = 300, *, from_the_dead: bool = False
) -> Lease:
    """Take a lease; refuse with the holder's name when somebody else has it.

    From a holder on this machine that is dead it may be taken before it runs out, where nothing
    that he began can still take effect.
    """
    held = Lease(name, uuid.uuid4().hex, seconds)
    if _take(connection, held):
        return held
    if from_the_dead and _bury(connection, name) and _take(connection, held):
        return held
    raise _refusal(connection, name)


def give_back(connection: Connection, held: Lease) -> None:
    """Let the next one have it."""
    connection.execute(
        "DELETE FROM control.leases WHERE name = %(name)s AND token = %(token)s", vars(held)
    )


def _take(connection: Connection, held: Lease) -> bool:
    holder = f"{person()}@{socket.gethostname()}, pid {os.getpid()}"
    try:
        with connection.transaction():
            # Whoever works under the lease holds the row's lock: do not wait for his commit.
            connection.execute("SET LOCAL lock_timeout = '2s'")
            taken = connection.execute(_TAKE, {**vars(held), "holder": holder}).fetchone()
    except psycopg.errors.LockNotAvailable:
        return False
    return taken is not None


def _bury(connection: Connection, name: str) -> bool:
    """Take the lease of a process that was killed away, so that nobody waits for nobody."""
    row = connection.execute(
        "SELECT holder, token FROM control.leases WHERE name = %s", [name]
    ).fetchone()
    if row is None or not _is_dead(row[0]):
        return row is None
    connection.execute(
        "DELETE FROM control.leases WHERE name = %s AND token = %s", [name, row[1]]
    )
    return True


def _is_dead(holder: str) -> bool:
    found = _HOLDER.search(holder)
    if found is None or found["host"] != socket.gethostname():
        return False
    return not psutil.pid_exists(int(found["pid"]))


def _refusal(connection: Connection, name: str) -> RefusedError:
    query = (
        "SELECT holder, to_char(taken_at AT TIME ZONE 'UTC', 'HH24:MI:SS'),"
        " to_char(expires_at AT TIME ZONE 'UTC', 'HH24:MI:SS')"
        " FROM control.leases WHERE name = %s"
    )
    row = connection.execute(query, [name]).fetchone()
    holder, since, until = row or ("somebody", "just now", "now")
    message = f"{holder} holds {name!r} since {since} UTC."
    return RefusedError(message, f"Wait for it to end. If it was killed, it runs out at {until}.")
