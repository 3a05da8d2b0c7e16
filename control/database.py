"""Connections to TimescaleDB or PostgreSQL for the control plane."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from pydantic import SecretStr

from control.errors import SluiceError
from control.settings import public

Connection = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def connect(dsn: SecretStr) -> Iterator[Connection]:
    """Open a connection that commits each statement; failures speak to a person."""
    try:
        connection = psycopg.connect(
            dsn.get_secret_value(), autocommit=True, connect_timeout=10,
            application_name="sluice",
        )
    except psycopg.Error as error:
        message = f"The database at {public(dsn)} cannot be reached: {_first_line(error)}"
        raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
    with connection:
        try:
            yield connection
        except psycopg.OperationalError as error:
            message = f"The database at {public(dsn)} failed: {_first_line(error)}"
            raise SluiceError(message, "Try again when it is up: nothing was half done.") from error


def person() -> str:
    """Return who runs this command, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return f"user {os.getuid()}"


def has_timescale(connection: Connection) -> bool:
    """Tell whether the TimescaleDB extension is installed in the database."""
    query = "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"
    return connection.execute(query).fetchone() is not None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
