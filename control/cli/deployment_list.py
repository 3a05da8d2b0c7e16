"""`sluice history --deployments`: what a job can be rolled back to, and how each one ended."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from control.cli.output import print_json, print_table
from control.lifecycle.book import Book
from control.lifecycle.deployments import Deployment, Deployments
from control.lifecycle.ledger import Ledger, Operation
from control.lifecycle.releases import commit_of
from control.lifecycle.words import DeploymentState, Kind
from control.settings import Settings

_STYLES = {DeploymentState.LIVE: "green", DeploymentState.FAILED: "red",
           DeploymentState.STARTING: "yellow", DeploymentState.ENDED: "none"}
# Of operations: a deployment may have been ended long after those next to it were begun.
_LOOK_BACK = 10_000


@dataclass(frozen=True)
class Row:
    """A deployment, with what is known of it elsewhere."""

    deployment: Deployment
    # Where its code lies unpacked on this machine.
    commit: str | None
    ended: str


def print_deployments(settings: Settings, job: str | None, limit: int, *, as_json: bool) -> None:
    """Print the last deployments, of one job or all, the newest first."""
    with Book(settings.timescale_dsn) as book:
        found = Deployments(book).all(job, limit)
        operations = Ledger(book).history(job, _LOOK_BACK)
    rows = [Row(one, commit_of(settings, one.release.archive), how_it_ended(one, found, operations))
            for one in found]
    if as_json:
        print_json([_as_json(row) for row in rows])
        return
    print_table(
        ("number", "job", "version", "commit", "state", "began", "from", "ended"),
        [(str(one.number), one.release.job, one.release.version, row.commit or "unknown",
          f"[{_STYLES[one.state]}]{one.state}[/]", f"{one.begun_at:%Y-%m-%d %H:%M:%S}",
          escape(one.restored_from or "no state"), escape(row.ended))
         for row in rows for one in [row.deployment]],
    )


def how_it_ended(
    one: Deployment, others: Iterable[Deployment], operations: Sequence[Operation]
) -> str:
    """Say what ended a deployment, as far as that is known."""
    own = next((done for done in operations if done.number == one.operation), None)
    if one.state in {DeploymentState.LIVE, DeploymentState.STARTING}:
        return ""
    if own is not None and (one.state is DeploymentState.FAILED or own.kind is Kind.REPLAY):
        return own.outcome
    # The newest one: those before it did not get as far.
    by = next((done for done in operations if _ended_job(done.plan) == one.flink_job), None)
    if by is not None:
        return _title(by)
    # Nobody ended it: it failed, or was lost, and another one was started later.
    next_one = min((other for other in others if other.release.job == one.release.job
                    and other.number > one.number), key=lambda other: other.number, default=None)
    after = next((done for done in operations
                  if next_one is not None and done.number == next_one.operation), None)
    return f"by itself, before {_title(after)}" if after is not None else ""


def _ended_job(plan: Mapping[str, Any]) -> str | None:
    """Return the job in Flink that an operation was to end, if any."""
    if "suspend" in plan:
        found = plan["suspend"].get("flink_job")
    else:
        found = plan.get("flink_job") if "how" in plan else None
    return str(found) if found else None


def _title(one: Operation) -> str:
    return f"{one.kind} {one.number}"


def _as_json(row: Row) -> dict[str, Any]:
    one = row.deployment
    return {
        "number": one.number, "job": one.release.job, "version": one.release.version,
        "commit": row.commit, "state": one.state, "operation": one.operation,
        "archive": one.release.archive, "parallelism": one.release.parallelism,
        "flink_job": one.flink_job, "restored_from": one.restored_from,
        "begun_at": one.begun_at.isoformat(),
        "ended_at": one.ended_at.isoformat() if one.ended_at else None, "ended": row.ended,
    }
