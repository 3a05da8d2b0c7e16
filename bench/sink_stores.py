"""The two stores as a benchmark sees them: empty them, ask how far they are, compare."""

from typing import Protocol

import httpx
import psutil
import psycopg

from bench.kit import cpu_seconds
from tests.kit.stack import TestStack


class Target(Protocol):
    """A store that is written to."""

    kind: str
    # The server's name in the stack.
    server: str
    address: str

    def clear(self) -> None:
        """Empty it."""

    def size(self) -> int:
        """Return how much there is, in a unit that costs nothing to ask for."""

    def count(self) -> int:
        """Return how many events there are."""

    def content(self) -> str:
        """Return what stands for all that there is."""


class Table:
    """The table of events."""

    kind, server = "timescale", "postgres"

    def __init__(self, stack: TestStack) -> None:
        self.address = stack.settings().timescale_dsn.get_secret_value()
        self._connection = psycopg.connect(self.address, autocommit=True)

    def _ask(self, query: str) -> int:
        row = self._connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0

    def clear(self) -> None:
        """Empty it."""
        self._connection.execute("TRUNCATE public.events")
        self._connection.execute("CHECKPOINT")

    def size(self) -> int:
        """Return its bytes."""
        return self._ask("SELECT pg_relation_size('public.events')")

    def count(self) -> int:
        """Return its rows."""
        return self._ask("SELECT count(*) FROM public.events")

    def written(self) -> int:
        """Return how many rows were ever inserted; it costs nothing, and is a moment late."""
        return self._ask(
            "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relid = 'public.events'::regclass"
        )

    def content(self) -> str:
        """Return a digest of all rows and columns, whatever their order."""
        return str(self._ask(
            "SELECT sum(hashtextextended(event::text, 0)::numeric) FROM public.events AS event"
        ))


class Index:
    """The daily indices."""

    kind, server = "search", "elasticsearch"

    def __init__(self, stack: TestStack) -> None:
        self.address = stack.settings().elasticsearch_url.get_secret_value()

    def _get(self, path: str) -> dict[str, object]:
        answer = httpx.get(f"{self.address}{path}", timeout=60)
        found: dict[str, object] = answer.raise_for_status().json()
        return found

    def clear(self) -> None:
        """Drop the indices."""
        for name in self._get("/events-*"):
            httpx.delete(f"{self.address}/{name}", timeout=60).raise_for_status()

    def size(self) -> int:
        """Return how many documents were indexed."""
        found = self._get(
            "/events-*/_stats/indexing?filter_path=_all.primaries.indexing.index_total"
        )
        for key in ("_all", "primaries", "indexing"):
            found = found.get(key, {})  # type: ignore[assignment]
        return int(str(found.get("index_total", 0)))

    def count(self) -> int:
        """Return how many documents can be found."""
        httpx.post(f"{self.address}/events-*/_refresh", timeout=60).raise_for_status()
        return int(str(self._get("/events-*/_count")["count"]))

    def content(self) -> str:
        """Return the count: others store no digests."""
        return str(self.count())


def server_seconds(stack: TestStack, target: Target) -> float:
    """Return the CPU time of a store's server, with that of connections that are gone."""
    process = psutil.Process(stack.pid(target.server))
    times = process.cpu_times()
    return cpu_seconds([process]) + times.children_user + times.children_system
