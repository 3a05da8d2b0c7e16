"""`sluice status`: how each job is, in one line; with --watch again and again."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from control.cli.illness import illnesses
from control.cli.output import duration, json_option, print_json, table_console
from control.errors import ExitCode, MisuseError, SluiceError
from control.flink_answers import FlinkJob
from control.lifecycle.eyes import Eyes, Sight
from control.lifecycle.open import Desk, open_desk
from control.lifecycle.releases import read_specs
from control.lifecycle.words import DeploymentState, Desired
from control.settings import Settings
from jobs.spec import JobSpec

_WATCH_SECONDS = 2
_FAILED = "FAILED"
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
    # What an unfinished operation says, and why this job is not well.
    problems: Sequence[str]
    # When that was seen.
    at: float


@click.command()
@click.argument("name", metavar="[JOB]", required=False)
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
@json_option
@click.pass_obj
def status(settings: Settings, name: str | None, *, watch: bool, as_json: bool) -> int:
    """Show how the jobs are: checkpoints, lag, backpressure, the last exception.

    Exit code 1 when a job that should run does not, or is not well.
    """
    if watch and as_json:
        message = "--watch and --json exclude each other."
        raise MisuseError(message, "Leave one of them out.")
    specs = [spec for spec in read_specs(settings.source).values()
             if name is None or spec.name == name]
    if not specs:
        message = f"There is no job {name}."
        raise SluiceError(message, "`sluice jobs list` lists them.")
    with open_desk(settings) as desk:
        if watch:
            _watch(desk, specs)
            return ExitCode.DONE
        lines = _look(desk, specs)
    if as_json:
        print_json([_as_json(line) for line in lines])
    else:
        table_console().print(_table(lines))
        for problem in _problems(lines):
            click.echo(problem)
    return ExitCode.FAILED if _problems(lines) else ExitCode.DONE


def _watch(desk: Desk, specs: list[JobSpec]) -> None:
    console = table_console()
    # What is no terminal gets one look after the other.
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    lines: list[Line] = []
    with suppress(KeyboardInterrupt), live or nullcontext():
        while True:
            away = ""
            try:
                lines = _look(desk, specs)
            except SluiceError as error:
                away = f"{error.message} Still watching; what stands here was seen before."
            shown = _view(lines, away)
            if live is not None:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
            desk.place.clock.sleep(_WATCH_SECONDS)


def _view(lines: list[Line], away: str) -> RenderableType:
    words = [Text(problem, style="red") for problem in _problems(lines)]
    if away:
        words.append(Text(away, style="yellow"))
    return Group(_table(lines), *words)


def _problems(lines: list[Line]) -> list[str]:
    return [problem for line in lines for problem in line.problems]


def _look(desk: Desk, specs: list[JobSpec]) -> list[Line]:
    place = desk.place
    wanted = {one.job: one.desired for one in place.deployments.wanted()}
    # A person waits for it: who does not answer is away.
    eyes = Eyes(place.eyes.flink, place.clock, patience_seconds=0)
    jobs = eyes.flink.jobs()
    return [
        _line(desk, eyes, spec, [job for job in jobs if job.name == spec.name],
              should_run=wanted.get(spec.name) is Desired.RUNNING) for spec in specs
    ]


def _line(
    desk: Desk, eyes: Eyes, spec: JobSpec, jobs: list[FlinkJob], *, should_run: bool
) -> Line:
    place, now = desk.place, desk.place.clock.now()
    unfinished = place.ledger.unfinished(spec.name)
    problems = [] if unfinished is None else [
        f"{unfinished.title} is not over; if its command was killed: `sluice resume {spec.name}`."
    ]
    job = next((one for one in jobs if not one.is_over), None)
    if job is None and jobs and jobs[0].state == _FAILED:
        # As long as Flink knows it, it tells why.
        job = jobs[0]
    deployment = place.deployments.of_flink_job(job.id) if job is not None else None
    ended = deployment is not None and deployment.state is DeploymentState.ENDED
    if job is None or (job.is_over and ended):
        if should_run and not problems:
            problems.append(f"{spec.name} should run and does not: `sluice deploy {spec.name}`"
                            " goes on from its last state.")
        return Line(spec.name, "not running", None, None, Sight(None), problems, now)
    sight = eyes.sight(job.id, spec.health, closely=True)
    return Line(
        spec.name, (sight.state or job.state).lower(), deployment.number if deployment else None,
        deployment.release.version if deployment else None, sight,
        [*problems, *illnesses(spec, sight, now, _failed_at(eyes, job.id, sight, spec))], now,
    )


def _failed_at(eyes: Eyes, job: str, sight: Sight, spec: JobSpec) -> float | None:
    if sight.restarts <= spec.health.max_restarts:
        return None
    return eyes.patiently(lambda: eyes.flink.last_failure_at(job))


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
    style = "red" if line.problems else "green"
    version = f"{line.version or 'unknown'}"
    return [
        line.job, f"[{style}]{line.state}[/]",
        version + (f" ({line.deployment})" if line.deployment else ""),
        duration(_uptime(line)),
        str(sight.restarts),
        f"{duration(_age(line))} ago" if last else "none yet",
        f"{last.size:,}" if last else "",
        "" if sight.lag is None else f"{sight.lag:,}",
        f"{worst[1]:.0%} {escape(worst[0][:30])}" if worst and worst[1] else "none",
        "" if sight.watermark_delay is None else duration(max(sight.watermark_delay, 0)),
        f"{sight.share_refused:.1%}" if sight.judged else "",
        escape((sight.exception or "")[:120]),
    ]


def _uptime(line: Line) -> float | None:
    if line.sight.is_over or line.sight.started is None:
        return None
    return line.at - line.sight.started


def _age(line: Line) -> float | None:
    last = line.sight.checkpoints.newest if line.sight.checkpoints else None
    return line.at - last.at / 1000 if last else None


def _as_json(line: Line) -> dict[str, Any]:
    sight, uptime = line.sight, _uptime(line)
    last = sight.checkpoints.newest if sight.checkpoints else None
    return {
        "job": line.job, "state": line.state, "deployment": line.deployment,
        "version": line.version, "problems": line.problems,
        "uptime_s": None if uptime is None else round(uptime, 1),
        "restarts": sight.restarts, "checkpoint_age_s": _age(line),
        "checkpoint_bytes": last.size if last else None, "lag": sight.lag,
        "judged": sight.judged, "refused": sight.refused,
        "backpressure": dict(sight.backpressure),
        "watermark_delay_s": sight.watermark_delay, "last_exception": sight.exception,
    }
