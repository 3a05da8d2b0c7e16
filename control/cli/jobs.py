"""`sluice jobs`, `sluice deploy`: the jobs and their start."""

import time
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console

from control.cli.output import duration, json_option, print_json, print_table
from control.errors import MisuseError, SluiceError, TimedOutError
from control.flink import FlinkClient
from control.settings import Settings
from control.submission import submit
from jobs.catalogue import JOBS, JobSpec, find_job

_POLL_SECONDS = 0.5
_START_SECONDS = 90


@click.group()
def jobs() -> None:
    """Show the jobs of the product."""


@jobs.command("list")
@json_option
@click.pass_obj
def list_jobs(settings: Settings, as_json: bool) -> None:
    """List every job, and whether it runs."""
    with FlinkClient(settings.flink_url) as flink:
        rows: list[dict[str, Any]] = []
        now = datetime.now(UTC).timestamp()
        for job in JOBS:
            live = flink.live_job(job.name)
            rows.append({
                "job": job.name,
                "state": live.state.lower() if live else "not started",
                "id": live.id if live else None,
                "uptime_s": round(now - live.started / 1000) if live else None,
                "reads": list(job.inputs),
                "writes": list(job.outputs),
                "purpose": job.purpose,
            })
    if as_json:
        print_json(rows)
        return
    print_table(("job", "state", "uptime", "reads", "writes"), [
        (row["job"], row["state"], duration(row["uptime_s"]), ", ".join(row["reads"]),
         ", ".join(row["writes"])) for row in rows
    ])


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--from", "savepoint", metavar="SAVEPOINT", help="Go on from this savepoint's state.")
@click.pass_obj
def deploy(settings: Settings, name: str, savepoint: str | None) -> None:
    """Start a job and wait until all of it runs."""
    job = find_job(name)
    if job is None:
        message = f"There is no job {name}."
        raise MisuseError(message, f"The jobs are: {', '.join(job.name for job in JOBS)}.")
    start_job(settings, job, Console(highlight=False, soft_wrap=True), savepoint)


def start_job(
    settings: Settings, job: JobSpec, console: Console, savepoint: str | None = None
) -> None:
    """Submit a job, wait until it runs and say so."""
    begun = time.monotonic()
    with console.status(f"{job.name}: Flink's client builds and submits it"):
        number = submit(settings, job, savepoint)
    with console.status(f"{job.name}: waiting until it runs"), FlinkClient(
        settings.flink_url
    ) as flink:
        _wait(flink, job, number)
    console.print(
        f"{job.name} runs as job {number} after {time.monotonic() - begun:.1f} s: {job.purpose}."
    )


def _wait(flink: FlinkClient, job: JobSpec, number: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        details = flink.details(number)
        states = {vertex["status"] for vertex in details.get("vertices", [])}
        if details.get("state") == "RUNNING" and states == {"RUNNING"}:
            return
        if details.get("state") in {"FAILED", "CANCELED"}:
            reason = flink.last_exception(number)
            message = f"{job.name} was submitted, but it {details['state'].lower()}: {reason}"
            raise SluiceError(message, "`sluice stack logs taskmanager-1` tells more.")
        if time.monotonic() > deadline:
            reason = flink.last_exception(number)
            why = f": {reason}" if reason else ""
            message = f"{job.name} (job {number}) does not run after {_START_SECONDS} s{why}"
            raise TimedOutError(message, "Are there free slots? `sluice doctor` tells.")
        time.sleep(_POLL_SECONDS)
