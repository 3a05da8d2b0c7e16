"""Rows into the table of events: COPY into a staging table and one merge, in one transaction."""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from udfs.copy_rows import COPY_HEAD, COPY_TAIL
from udfs.patience import AwayError
from udfs.reasons import Reason, RejectedError

_LOG = logging.getLogger(__name__)

KEY = ("event_id", "occurred_at")
# Of two copies of an event the one that was cleaned later counts.
_VERSION = "cleaned_at"

# Classes of SQLSTATE that are about the values of a row: bad data, a constraint, a view's check,
# what a trigger raises, and a value too large for an index. All others are about the server.
_REFUSALS = ("22", "23", "44", "54", "P0001")
_CONNECT_SECONDS = 10
# Sent to the server while the next rows are made.
_BLOCK_BYTES = 128 * 1024
# So that a server that is gone without a word is missed, and a lock held for ever is let go of.
_CONNECTION = {
    "connect_timeout": _CONNECT_SECONDS, "keepalives_idle": 10, "keepalives_interval": 5,
    "keepalives_count": 3, "tcp_user_timeout": 30_000, "application_name": "sluice-timescale",
    "options": "-c lock_timeout=30s -c statement_timeout=300s",
}


@dataclass(frozen=True)
class DatabaseAddress:
    """Where the database is; its password is not a part of what is shown."""

    dsn: str

    def __repr__(self) -> str:
        return "DatabaseAddress(...)"


class TimescaleWriter:
    """Writes batches of rows, each whole or not at all."""

    def __init__(
        self, address: DatabaseAddress, columns: Sequence[str],
        table: tuple[str, str] = ("public", "events"),
    ) -> None:
        self._address = address
        target = sql.Identifier(*table)
        # The WASM server shares temporary tables between all connections.
        staging = sql.Identifier("pg_temp", f"staging_{os.getpid()}_{id(self):x}")
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        self._prepare = sql.SQL(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS"
            " AS SELECT {} FROM {} WITH NO DATA"
        ).format(staging, names, target)
        self._copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(staging, names)
        key = sql.SQL(", ").join(map(sql.Identifier, KEY))
        changes = sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column))
            for column in columns if column not in KEY
        )
        # In one order for all writers: two that meet the same events wait, they do not deadlock.
        self._merge = sql.SQL(
            "INSERT INTO {target} AS held ({names})"
            " SELECT DISTINCT ON ({key}) {names} FROM {staging} ORDER BY {key}, {version} DESC"
            " ON CONFLICT ({key}) DO UPDATE SET {changes}"
            " WHERE held.{version} < excluded.{version}"
        ).format(target=target, names=names, key=key, staging=staging, changes=changes,
                 version=sql.Identifier(_VERSION))
        self._connection: psycopg.Connection | None = None

    def write(self, rows: Iterable[bytes]) -> None:
        """Write rows as compile_row makes them; RejectedError when the server refuses one."""
        try:
            connection = self._connected()
            with connection.transaction(), connection.cursor() as cursor:
                with cursor.copy(self._copy) as copy:
                    block = bytearray(COPY_HEAD)
                    for row in rows:
                        block += row
                        if len(block) >= _BLOCK_BYTES:
                            copy.write(bytes(block))
                            block.clear()
                    copy.write(bytes(block) + COPY_TAIL)
                cursor.execute(self._merge)
        except psycopg.Error as error:
            raise self._judged(error) from error

    def close(self) -> None:
        """Leave the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._address.dsn, autocommit=True, **_CONNECTION,  # type: ignore[arg-type]
            )
            self._connection.execute(self._prepare)
        return self._connection

    def _judged(self, error: psycopg.Error) -> RejectedError | AwayError:
        state = error.sqlstate or ""
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        if state.startswith(_REFUSALS):
            return RejectedError(Reason.REFUSED, f"{said} (SQLSTATE {state})")
        # Whatever it is, a new connection is the best start for the next try.
        self.close()
        hint = "; run `sluice db migrate`" if state in {"42P01", "42703"} else ""
        return AwayError(f"{said}{hint}")
