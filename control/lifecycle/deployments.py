"""Which version of a job was started when, and what is wanted of a job."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from control.lifecycle.book import Book, as_json
from control.lifecycle.words import DeploymentState, Desired

_COLUMNS = (
    "number, job, operation, archive, version, spec, settings, parallelism, graph, flink_job,"
    " restored_from, state, begun_at, ended_at"
)


@dataclass(frozen=True)
class Release:
    """What can be started: code, settings, parallelism."""

    job: str
    # The archive's hash.
    archive: str
    version: str
    spec: Mapping[str, Any]
    # What differs from the defaults and is no secret.
    settings: Mapping[str, Any]
    parallelism: int

    def at(self, parallelism: int) -> "Release":
        """Return the same with another parallelism."""
        return replace(self, parallelism=parallelism)


@dataclass(frozen=True)
class Deployment:
    """One start of a release."""

    number: int
    release: Release
    operation: int
    graph: Mapping[str, Any] | None
    flink_job: str
    restored_from: str | None
    state: DeploymentState
    begun_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a job."""

    job: str
    desired: Desired
    savepoint_every: timedelta | None
    # None: nobody has said.
    keep_count: int | None
    keep_for: timedelta | None


class Deployments:
    """Reads and writes deployments."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def add(
        self, release: Release, operation: int, flink_job: str, restored_from: str | None
    ) -> int:
        """Write down that a release is about to be started as a Flink job; return its number."""
        rows = self._book.ask(
            "INSERT INTO control.deployments AS known (job, operation, archive, version, spec,"
            " settings, parallelism, flink_job, restored_from, state)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'starting')"
            " ON CONFLICT (flink_job) DO UPDATE SET restored_from = excluded.restored_from"
            " RETURNING number",
            [release.job, operation, release.archive, release.version, as_json(release.spec),
             as_json(release.settings), release.parallelism, flink_job, restored_from],
        )
        return int(rows[0][0])

    def set_graph(self, number: int, graph: Mapping[str, Any]) -> None:
        """Write down what Flink makes of it."""
        self._book.ask("UPDATE control.deployments SET graph = %s WHERE number = %s",
                       [as_json(graph), number])

    def set_parallelism(self, number: int, parallelism: int) -> None:
        """Write down that a running deployment was scaled in place."""
        self._book.ask("UPDATE control.deployments SET parallelism = %s WHERE number = %s",
                       [parallelism, number])

    def set_state(self, number: int, state: DeploymentState) -> None:
        """Write down what became of it."""
        over = state in {DeploymentState.ENDED, DeploymentState.FAILED}
        self._book.ask(
            "UPDATE control.deployments SET state = %(state)s, ended_at ="
            " CASE WHEN %(over)s THEN coalesce(ended_at, clock_timestamp()) END"
            " WHERE number = %(number)s",
            {"state": state.value, "over": over, "number": number},
        )

    def get(self, number: int) -> Deployment | None:
        """Return a deployment."""
        return self._one("number = %s", [number])

    def of_flink_job(self, flink_job: str) -> Deployment | None:
        """Return the deployment that was started as this Flink job."""
        return self._one("flink_job = %s", [flink_job])

    def begun_as(self, beginning: str) -> list[Deployment]:
        """Return the last two deployments whose Flink job's id begins so."""
        return self._many("flink_job LIKE %s", [f"{beginning}%"], 2)

    def live(self, job: str) -> Deployment | None:
        """Return the deployment that runs, as far as is known."""
        return self._one("job = %s AND state = 'live'", [job])

    def last_good(self, job: str, before: int | None = None) -> Deployment | None:
        """Return the newest deployment that once ran well, before another one if asked to."""
        return self._one(
            "job = %s AND state IN ('live', 'ended') AND (%s::bigint IS NULL OR number < %s)",
            [job, before, before],
        )

    def all(self, job: str | None = None, limit: int = 50) -> list[Deployment]:
        """Return the last deployments, the newest first."""
        return self._many("%s::text IS NULL OR job = %s", [job, job], limit)

    def want(self, job: str, desired: Desired) -> None:
        """Write down what is wanted of a job."""
        self._book.ask(
            "INSERT INTO control.jobs AS known (job, desired) VALUES (%s, %s)"
            " ON CONFLICT (job) DO UPDATE SET desired = excluded.desired,"
            " since = clock_timestamp() WHERE known.desired <> excluded.desired",
            [job, desired.value],
        )

    def wanted(self, job: str | None = None) -> list[Wanted]:
        """Return what is wanted, of one job or of all."""
        rows = self._book.ask(
            "SELECT job, desired, savepoint_every, keep_count, keep_for FROM control.jobs"
            " WHERE %s::text IS NULL OR job = %s ORDER BY job", [job, job],
        )
        return [Wanted(name, Desired(desired), *rest) for name, desired, *rest in rows]

    def schedule(
        self, job: str, every: timedelta | None, keep_count: int | None,
        keep_for: timedelta | None,
    ) -> None:
        """Write down how often a savepoint is taken, and how many are kept for how long."""
        self._book.ask(
            "INSERT INTO control.jobs (job, desired, savepoint_every, keep_count, keep_for)"
            " VALUES (%s, 'stopped', %s, %s, %s) ON CONFLICT (job) DO UPDATE SET"
            " savepoint_every = excluded.savepoint_every, keep_count = excluded.keep_count,"
            " keep_for = excluded.keep_for", [job, every, keep_count, keep_for],
        )

    def _one(self, condition: str, values: list[Any]) -> Deployment | None:
        return next(iter(self._many(condition, values, 1)), None)

    def _many(self, condition: str, values: list[Any], limit: int) -> list[Deployment]:
        rows = self._book.ask(
            f"SELECT {_COLUMNS} FROM control.deployments"  # noqa: S608 - constants of this module
            f" WHERE {condition} ORDER BY number DESC LIMIT %s", [*values, limit],
        )
        return [_deployment(row) for row in rows]


def _deployment(row: tuple[Any, ...]) -> Deployment:
    (number, job, operation, archive, version, spec, settings, parallelism, graph, flink_job,
     restored_from, state, begun_at, ended_at) = row
    release = Release(job, archive, version, spec, settings, parallelism)
    return Deployment(number, release, operation, graph, flink_job, restored_from,
                      DeploymentState(state), begun_at, ended_at)
