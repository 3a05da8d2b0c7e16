"""`sluice status`: how each job is, in one line; with --watch again and again."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from control.cli.output import duration, json_option, print_json
from control.errors import ExitCode, SluiceError
from control.lifecycle.eyes import Sight
from control.lifecycle.open import Desk, open_desk
from control.lifecycle.releases import read_specs
from control.settings import Settings
from jobs.spec import JobSpec

_WATCH_SECONDS = 2
_COLUMNS = ("job", "state", "version", "uptime", "restarts", "checkpoint", "size", "lag",
            "backpressure", "watermark", "refused", "last exception")


@dataclass(frozen=True)
class Line:
    """How one job is."""

    job: str
    state: str
    deployment: int | None
    version: str | None
    sight: Sight
    # What an unfinished operation says, or why this job is not well.
    problem: str | None


@click.command()
@click.argument("name", metavar="[JOB]", required=False)
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
@json_option
@click.pass_obj
def status(settings: Settings, name: str | None, *, watch: bool, as_json: bool) -> int:
    """Show how the jobs are: checkpoints, lag, backpressure, the last exception.

    Exit code 1 when a job that should run does not, or is not well.
    """
    specs = [spec for spec in read_specs(settings.source).values()
             if name is None or spec.name == name]
    if not specs:
        message = f"There is no job {name}."
        raise SluiceError(message, "`sluice jobs list` lists them.")
    with open_desk(settings) as desk:
        lines = _look(desk, specs)
        if as_json:
            print_json([_as_json(line) for line in lines])
        elif watch:
            _watch(desk, specs)
        else:
            console = Console(highlight=False)
            if not console.is_terminal:
                console.width = 500
            console.print(_table(lines))
            for line in lines:
                if line.problem:
                    click.echo(line.problem)
    return ExitCode.FAILED if any(line.problem for line in lines) else ExitCode.DONE


def _watch(desk: Desk, specs: list[JobSpec]) -> None:
    with Live(_table(_look(desk, specs)), auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_SECONDS)
            live.update(_table(_look(desk, specs)), refresh=True)


def _look(desk: Desk, specs: list[JobSpec]) -> list[Line]:
    wanted = {one.job: one for one in desk.place.deployments.wanted()}
    return [_line(desk, spec, spec.name in wanted
                  and wanted[spec.name].desired.value == "running") for spec in specs]


def _line(desk: Desk, spec: JobSpec, should_run: bool) -> Line:
    place = desk.place
    live = place.eyes.flink.live_job(spec.name)
    unfinished = place.ledger.unfinished(spec.name)
    problem = None
    if unfinished is not None:
        problem = (f"{unfinished.title} is not over; if its command was killed:"
                   f" `sluice resume {spec.name}`.")
    if live is None:
        if should_run and problem is None:
            problem = (f"{spec.name} should run and does not: `sluice deploy {spec.name}` goes on"
                       " from its last state.")
        return Line(spec.name, "not running", None, None, Sight(None), problem)
    deployment = place.deployments.of_flink_job(live.id)
    sight = place.eyes.sight(live.id, spec.health, closely=True)
    return Line(
        spec.name, live.state.lower(), deployment.number if deployment else None,
        deployment.release.version if deployment else None, sight,
        problem or _illness(spec, sight),
    )


def _illness(spec: JobSpec, sight: Sight) -> str | None:
    if sight.state != "RUNNING" or not sight.all_run:
        return f"{spec.name} is {(sight.state or 'unknown').lower()}: not all of it runs."
    age = _age(sight)
    if age is not None and age > spec.health.max_checkpoint_age_seconds:
        return f"{spec.name}: its last checkpoint is {duration(age)} old."
    if sight.lag is not None and sight.lag > spec.health.max_lag:
        return f"{spec.name} is {sight.lag:,} messages behind."
    return None


def _age(sight: Sight) -> float | None:
    last = sight.checkpoints.newest if sight.checkpoints else None
    return datetime.now(UTC).timestamp() - last.at / 1000 if last else None


def _table(lines: list[Line]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*_cells(line))
    return table


def _cells(line: Line) -> list[str]:
    sight = line.sight
    if sight.state is None:
        return [line.job, line.state, *[""] * (len(_COLUMNS) - 2)]
    worst = max(sight.backpressure.items(), key=lambda one: one[1], default=None)
    last = sight.checkpoints.newest if sight.checkpoints else None
    style = "green" if line.problem is None else "red"
    version = f"{line.version or 'unknown'}"
    return [
        line.job, f"[{style}]{line.state}[/]",
        version + (f" ({line.deployment})" if line.deployment else ""),
        duration(datetime.now(UTC).timestamp() - (sight.started or 0)),
        str(sight.restarts),
        f"{duration(_age(sight))} ago" if last else "none yet",
        f"{last.size:,}" if last else "",
        "" if sight.lag is None else f"{sight.lag:,}",
        f"{worst[1]:.0%} {escape(worst[0][:30])}" if worst and worst[1] else "none",
        "" if sight.watermark_delay is None else duration(max(sight.watermark_delay, 0)),
        f"{sight.share_refused:.1%}" if sight.judged else "",
        escape((sight.exception or "")[:120]),
    ]


def _as_json(line: Line) -> dict[str, Any]:
    sight = line.sight
    last = sight.checkpoints.newest if sight.checkpoints else None
    return {
        "job": line.job, "state": line.state, "deployment": line.deployment,
        "version": line.version, "problem": line.problem,
        "uptime_s": round(datetime.now(UTC).timestamp() - sight.started, 1)
        if sight.started else None,
        "restarts": sight.restarts, "checkpoint_age_s": _age(sight),
        "checkpoint_bytes": last.size if last else None, "lag": sight.lag,
        "judged": sight.judged, "refused": sight.refused,
        "backpressure": dict(sight.backpressure),
        "watermark_delay_s": sight.watermark_delay, "last_exception": sight.exception,
    }
