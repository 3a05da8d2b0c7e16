"""Every SQL query of docs/queries.md, on both servers, against answers computed without SQL."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from control.db.maintenance import maintain
from control.settings import PROJECT_ROOT
from tests.integration.query_answers import ANSWERS, Asked
from tests.kit.databases import PLAIN, SERVERS, TIMESCALE, fresh_database
from tests.kit.rows import Story, insert

PAGE = PROJECT_ROOT / "docs" / "queries.md"

# Older than anything that is asked for: so many rows that an index is worth while.
_OTHERS = """
    INSERT INTO events (event_id, occurred_at, event_type, domain, schema_version, received_at,
                        cleaned_at, tenant_id, entity_id, correlation_id, source, user_id,
                        is_error, attributes)
    SELECT gen_random_uuid(), at, 'user.updated', 'user', 1, at, at, 'tenant-' || mod(n, 20), 'e',
           gen_random_uuid(), 'accounts', 'user-' || mod(n, 500), false, '{"device": "phone"}'
    FROM generate_series(1, 40000) AS n,
         LATERAL (SELECT %s::timestamptz - n * interval '30 seconds' AS at) AS moment
    ORDER BY at
"""


@dataclass(frozen=True)
class Query:
    """One block of the page."""

    title: str
    text: str
    servers: tuple[str, ...]

    def filled(self, parameters: dict[str, str]) -> bytes:
        """Put the parameters in as psql would, and leave out what is not one."""
        def quoted(match: re.Match[str]) -> str:
            return sql.Literal(parameters[match[1]]).as_string()

        return re.sub(r":'(\w+)'", quoted, self.text).encode()


def read_queries() -> list[Query]:
    """Read the page: a heading, a few words, a block of SQL."""
    found, title = [], ""
    block = re.compile(r"^### (?P<title>[^\n]+)$|^```sql *(?P<kind>\w*)\n(?P<text>.*?)^```$",
                       re.MULTILINE | re.DOTALL)
    for match in block.finditer(PAGE.read_text()):
        if match["title"] is not None:
            title = match["title"]
        else:
            servers = {"": SERVERS, "timescale": (TIMESCALE,)}[match["kind"]]
            found.append(Query(title, match["text"], servers))
    return found


QUERIES = {query.title: query for query in read_queries()}


class Database:
    """A server with the story in its tables."""

    def __init__(self, server: str, dsn: SecretStr) -> None:
        self.server = server
        now = datetime.now(UTC)
        self.asked = Asked(Story(now.replace(minute=0, second=0, microsecond=0), seed=5))
        self._connection = psycopg.connect(dsn.get_secret_value(), autocommit=True)
        # Some of it refreshed and compressed, the rest as it came: queries meet both.
        first, second = self.asked.rows[::2], self.asked.rows[1::2]
        self._connection.execute(_OTHERS, [self.asked.start - timedelta(days=10)])
        insert(self._connection, first)
        maintain(dsn, lambda _: None)
        insert(self._connection, second)
        maintain(dsn, lambda _: None)
        self._connection.execute("ANALYZE events")

    def ask(self, query: Query) -> list[tuple[Any, ...]]:
        """Return what a query answers."""
        return self._connection.execute(query.filled(self.asked.parameters())).fetchall()

    def plan(self, statement: bytes) -> str:
        """Return how the server would go about it."""
        with self._connection.transaction():
            if self.server == TIMESCALE:
                # A chunk of these has a few hundred rows, which are read faster without an index.
                self._connection.execute("SET LOCAL enable_seqscan = off")
            return "\n".join(row[0] for row in self._connection.execute(b"EXPLAIN " + statement))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return what a statement of the tests answers."""
        return self._connection.execute(statement.encode()).fetchall()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _open(server: str) -> Iterator[Database]:
    with fresh_database(server, "queries") as dsn:
        loaded = Database(server, dsn)
        yield loaded
        loaded.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Database]:
    yield from _open(PLAIN)


@pytest.fixture(scope="module")
def timescale() -> Iterator[Database]:
    yield from _open(TIMESCALE)


@pytest.fixture(params=SERVERS)
def database(request: pytest.FixtureRequest) -> Database:
    name = "plain" if request.param == PLAIN else "timescale"
    found: Database = request.getfixturevalue(name)
    return found


def for_servers(*titles: str) -> pytest.MarkDecorator:
    """Run a test with these queries on each server that they are for."""
    return pytest.mark.parametrize(
        ("database", "title"),
        [(server, title) for server in SERVERS for title in titles
         if server in QUERIES[title].servers],
        indirect=["database"],
    )


def same(found: Any, expected: Any) -> bool:
    """Compare two values; the last digits of a computation may differ."""
    if isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9)
    if isinstance(expected, timedelta):
        return bool(abs(found - expected) <= timedelta(microseconds=1))
    return bool(found == expected)


def test_every_query_has_an_answer_and_every_parameter_a_value() -> None:
    assert len(QUERIES) == len(read_queries())
    assert set(QUERIES) == set(ANSWERS)
    page = PAGE.read_text()
    shown = set(re.findall(r"^\\set (\w+) '", page, re.MULTILINE))
    used = set(re.findall(r":'(\w+)'", page))
    assert shown == used


@for_servers(*QUERIES)
def test_the_answer_is_right(database: Database, title: str) -> None:
    expected = ANSWERS[title](database.asked)
    assert expected
    found = database.ask(QUERIES[title])
    assert len(found) == len(expected)
    for line, (got, wanted) in enumerate(zip(found, expected, strict=True)):
        assert len(got) == len(wanted)
        wrong = [(a, b) for a, b in zip(got, wanted, strict=True) if not same(a, b)]
        assert not wrong, f"line {line}: {got} instead of {wanted}"


@for_servers("The latest events", "Values of an attribute")
def test_a_tenants_events_are_found_by_index(database: Database, title: str) -> None:
    plan = database.plan(QUERIES[title].filled(database.asked.parameters()))
    assert "events_of_a_tenant" in plan, plan


@for_servers("The chain of a correlation")
def test_a_flow_is_found_by_index(database: Database, title: str) -> None:
    plan = database.plan(QUERIES[title].filled(database.asked.parameters()))
    assert "events_of_a_flow" in plan, plan


@for_servers("One event")
def test_an_event_is_found_by_its_key(database: Database, title: str) -> None:
    plan = database.plan(QUERIES[title].filled(database.asked.parameters()))
    assert "events_pkey" in plan, plan


def test_what_was_cleaned_in_a_span_is_found_by_index(database: Database) -> None:
    end = database.asked.end
    plan = database.plan(
        f"SELECT event_id FROM events WHERE cleaned_at >= '{end - timedelta(hours=1)}'"
        f" AND cleaned_at < '{end}'".encode())
    assert "events_by_cleaning" in plan, plan


@for_servers("Late events")
def test_rows_outside_the_span_are_left_out(database: Database, title: str) -> None:
    plan = database.plan(QUERIES[title].filled(database.asked.parameters()))
    if database.server == PLAIN:
        assert "events_by_time" in plan, plan
        return
    chunks = {name: (start, end) for name, start, end in database.rows(
        "SELECT chunk_name, range_start, range_end FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'events'")}
    opened = set(re.findall(r"_hyper_\d+_\d+_chunk\b", plan))
    asked = database.asked
    wanted = {name for name, (start, end) in chunks.items()
              if start < asked.end and end > asked.start}
    assert opened == wanted
    assert len(chunks) > 50
