"""Migrated databases of a test's own, on both kinds of server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from pydantic import SecretStr

from control.db.migrations import migrate
from tests.kit.stack import TEST_HOMES, TestStack

PLAIN = "postgres"
TIMESCALE = "timescale-wasm"
SERVERS = (PLAIN, TIMESCALE)


@contextmanager
def fresh_database(server: str, name: str) -> Iterator[SecretStr]:
    """Yield a database with our tables and no rows, on a server that is gone afterwards."""
    stack = TestStack(TEST_HOMES / f"{name}-{server}")
    stack.destroy()
    try:
        stack.ok("stack", "up", "--db", server, "--only", server)
        dsn = stack.settings().timescale_dsn
        migrate(dsn)
        yield dsn
    finally:
        stack.destroy()


def execute(stack: TestStack, statement: str, *values: Any) -> None:
    """Change a stack's database behind everybody's back, as an administrator would."""
    dsn = stack.settings().timescale_dsn.get_secret_value()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode(), values or None)
