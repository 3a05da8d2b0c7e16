"""`sluice replay`: a job's code once more over a span of history, beside the live job."""

from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from control.cli.manner import (
    Manner,
    ask,
    reason_option,
    refuse_bad,
    saying,
    show_checks,
    telling_failures,
)
from control.cli.output import duration, json_option, print_json, print_table
from control.cli.replay_shadow import compare, drop, swap
from control.cli.replay_words import find_replay, tell
from control.dlq.wish import parse_moment
from control.errors import MisuseError, RefusedError
from control.lanes.history import look_back, replayed_topics
from control.lifecycle.deployments import Release
from control.lifecycle.graph import Graph
from control.lifecycle.ledger import Operation
from control.lifecycle.observe import gather
from control.lifecycle.open import Desk, open_desk
from control.lifecycle.perform import Held, held
from control.lifecycle.plan import How, Plan, Restore, Suspend
from control.lifecycle.preflight import Check, Verdict, preflight
from control.lifecycle.progress import how_far, positions
from control.lifecycle.releases import find_spec
from control.lifecycle.replay_plan import (
    ReplayPlan,
    ReplayWish,
    check_history,
    decide_replay,
    find_release,
    millis,
    replay_job,
    replay_plan_from_json,
)
from control.lifecycle.run import Say
from control.lifecycle.watch import watch_for
from control.lifecycle.words import Kind
from control.reconcile.span import moment
from control.settings import Settings
from jobs.lane import Into
from jobs.spec import spec_from_json

# What is asked before an upgrade and matters to a replay: it begins without state.
_CHECKS = frozenset({"cluster", "slots", "topics", "schemas", "migrations"})
_STYLES = {"done": "green", "failed": "red", "running": "yellow", "undone": "yellow"}


class _JobOrCommand(click.Group):
    """A group whose first word may be a job instead of a command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take a first word that is no command for the job to replay."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "", start, args

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say that a job may stand there."""
        formatter.write_usage(ctx.command_path, "JOB --from TIME [OPTIONS] | COMMAND")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the options that belong to the form with a job."""
        with formatter.section("Options after JOB"):
            formatter.write_dl([
                found for option in start.params if isinstance(option, click.Option)
                and (found := option.get_help_record(ctx)) is not None
            ])


@click.group(cls=_JobOrCommand)
def replay() -> None:
    """Run a job's code over a span of history, beside the live job, which runs on.

    The same version, with a group and transactions of its own. Into live it writes what is there
    once more; into a shadow it writes tables, indices and topics of the same shape beside them.
    What came out is compared at the end. One replay of a job runs at a time; the job itself can be
    upgraded meanwhile.
    """


for _command in (compare, swap, drop):
    replay.add_command(_command)


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--from", "since", metavar="TIME", required=True,
              help="What Kafka took from then on: 2026-11-21T12:00, or 3h, 2d ago.")
@click.option("--to", "until", metavar="TIME", help="And before that.  [default: now]")
@click.option("--into", type=click.Choice([Into.LIVE.value, Into.SHADOW.value]),
              default=Into.LIVE.value, show_default=True, help="Where it writes.")
@click.option("--rate", type=click.IntRange(min=1), metavar="N",
              help="Messages a second at most.  [default: as fast as it can]")
@click.option("--parallelism", type=click.IntRange(min=1),
              help="Parallel tasks.  [default: as the live job]")
@click.option("--allow-cut", is_flag=True,
              help="Also where Kafka has forgotten the beginning of the span.")
@reason_option
@click.option("--dry-run", is_flag=True, help="Print the plan and touch nothing.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@json_option
@click.pass_obj
def start(settings: Settings, /, name: str, since: str, until: str | None, **options: Any) -> None:
    """Run JOB's code over what Kafka took from one time to another."""
    wish = _wish(since, until, options)
    manner = Manner(options["reason"], bool(options["dry_run"]), bool(options["yes"]),
                    bool(options["as_json"]))
    console = Console(highlight=False, soft_wrap=True)
    with (
        telling_failures(manner), open_desk(settings) as desk,
        held(desk, replay_job(name)) as hands,
    ):
        if not desk.place.deployments.all(name, 1):
            find_spec(settings.source, name)
        release = find_release(desk.place, name, wish.parallelism)
        with saying(console, manner) as say:
            plan, checks = _decide(desk, release, wish, say)
        _show_plan(console, plan, checks, manner)
        refuse_bad(f"A replay of {name}", plan.as_json(), checks)
        if manner.dry_run:
            if manner.as_json:
                print_json(_dry_run(plan, checks))
            return
        if not plan.is_harmless:
            ask(f"replay {name} into live", manner)
        with saying(console, manner) as say:
            outcome = hands.begin(plan, Kind.REPLAY, manner.reason, say)
    tell(outcome, manner.as_json)


@replay.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
@click.pass_obj
def list_replays(settings: Settings, *, limit: int, as_json: bool) -> None:
    """List replays, the newest first."""
    with open_desk(settings) as desk:
        found = desk.place.ledger.history(None, limit, Kind.REPLAY)
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    rows = []
    for one in found:
        plan = replay_plan_from_json(one.plan)
        ended = one.ended_at or datetime.now(UTC)
        rows.append((
            str(one.number), plan.job, plan.into.value, moment(plan.first * 1000),
            moment(plan.end * 1000), f"{plan.messages:,}", f"[{_STYLES[one.state]}]{one.state}[/]",
            duration((ended - one.begun_at).total_seconds()), escape(one.outcome),
        ))
    print_table(
        ("number", "job", "into", "from", "to", "messages", "state", "took", "outcome"), rows
    )


@replay.command()
@click.argument("number", type=int)
@json_option
@click.pass_obj
def show(settings: Settings, number: int, *, as_json: bool) -> None:
    """Show one replay: its plan, how far it is, what happened."""
    with open_desk(settings) as desk:
        operation, plan = find_replay(desk, number)
        steps = desk.place.ledger.steps(number)
        events = desk.place.ledger.events(operation=number)
        jobs = [one for one in desk.place.deployments.all(operation.job, 1000)
                if one.operation == number]
        now = _now(desk, plan, jobs[0].flink_job) if jobs and not operation.state.is_over else None
    if as_json:
        print_json({
            **_as_json(operation), "now": now, "jobs": [one.flink_job for one in reversed(jobs)],
            "steps": [{"step": step.step, "state": step.state, "result": step.result}
                      for step in steps],
            "events": [{"at": event.at.isoformat(), "event": event.event, "detail": event.detail}
                       for event in events],
        })
        return
    click.echo(f"{operation.title}: {operation.state}.")
    for line in plan.lines():
        click.echo(f"- {line}")
    for event in events:
        click.echo(f"{event.at:%Y-%m-%d %H:%M:%S} {event.event}: {event.detail}")
    if now is not None:
        click.echo(f"Job {jobs[0].flink_job} is {now['state']}: {now['read']:,} of about"
                   f" {plan.messages:,} messages."
                   + (f" {now['exception']}" if now["exception"] else ""))
    if operation.outcome:
        click.echo(operation.outcome)


@replay.command()
@click.argument("number", type=int)
@click.option("--restart", is_flag=True,
              help="Read all of it again where Flink has forgotten the job.")
@reason_option
@json_option
@click.pass_obj
def resume(
    settings: Settings, number: int, *, restart: bool, reason: str, as_json: bool
) -> None:
    """Wait for a replay again; one whose job has failed goes on from its last checkpoint."""
    _take_up(settings, number, Manner(reason, as_json=as_json), restart=restart)


@replay.command()
@click.argument("number", type=int)
@reason_option
@json_option
@click.pass_obj
def cancel(settings: Settings, number: int, *, reason: str, as_json: bool) -> None:
    """End a replay; what it wrote into a shadow is deleted."""
    _take_up(settings, number, Manner(reason, as_json=as_json), undo=True)


def _wish(since: str, until: str | None, options: dict[str, Any]) -> ReplayWish:
    now = datetime.now(UTC)
    first = parse_moment(since, now)
    end = now if until is None else parse_moment(until, now)
    if end > now:
        message = f"--to lies in the future: {end:%Y-%m-%d %H:%M:%S} UTC."
        raise MisuseError(message, "A replay reads what has come; what comes is the live job's.")
    if millis(first) >= millis(end):
        message = "--from is not before --to, or not in the past."
        raise MisuseError(message, "--from is the older of the two.")
    return ReplayWish(Into(options["into"]), first, end, options["rate"], options["parallelism"],
                      bool(options["allow_cut"]))


def _decide(
    desk: Desk, release: Release, wish: ReplayWish, say: Say
) -> tuple[ReplayPlan, list[Check]]:
    settings, place = desk.settings, desk.place
    spec = spec_from_json(release.spec)
    say("checking")
    # It is judged as a first start is; the graph is built when it has a number.
    as_first = Plan(Kind.REPLAY, release, "", Suspend(How.NOTHING), Restore(),
                    watch_for(spec, 0.0))
    facts = gather(settings, place, as_first, Graph(spec.mode, ()))
    checks = [check for check in preflight(as_first, facts) if check.name in _CHECKS]
    bad = next((check for check in checks if check.name == "topics"
                and check.verdict is Verdict.BAD), None)
    if bad is not None:
        message = f"A replay of {release.job} is refused: topics {bad.found}."
        raise RefusedError(message, bad.way_out)
    say("asking what Kafka still has")
    bootstrap = settings.kafka_bootstrap
    stretch = look_back(bootstrap, replayed_topics(bootstrap, spec.inputs), millis(wish.first),
                        millis(wish.end))
    return decide_replay(release, wish, stretch), [*checks, *check_history(wish, stretch)]


def _show_plan(
    console: Console, plan: ReplayPlan, checks: list[Check], manner: Manner
) -> None:
    if manner.as_json:
        return
    show_checks([check for check in checks
                 if manner.dry_run or check.verdict is not Verdict.GOOD])
    for number, line in enumerate(plan.lines(), 1):
        console.print(escape(f"{number}. {line}"))
    for effect in plan.effects():
        console.print(escape(f"Written again, not harmless: {effect}"), style="yellow")


def _dry_run(plan: ReplayPlan, checks: list[Check]) -> dict[str, Any]:
    return {"plan": plan.as_json(), "messages": plan.messages,
            "seconds_at_least": plan.messages / plan.rate if plan.rate else None,
            "effects": plan.effects(), "checks": [vars(check) for check in checks]}


def _take_up(
    settings: Settings, number: int, manner: Manner, *, undo: bool = False, restart: bool = False
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    with telling_failures(manner), open_desk(settings) as desk:
        job = find_replay(desk, number)[0].job
        with held(desk, job, unfinished=True) as hands, saying(console, manner) as say:
            # Another command may just have ended it.
            outcome = _finish(hands, number, say, manner.reason, undo=undo, restart=restart)
    tell(outcome, manner.as_json)


def _finish(
    hands: Held, number: int, say: Say, reason: str, *, undo: bool, restart: bool
) -> str:
    operation, _ = find_replay(hands.desk, number)
    if operation.state.is_over:
        message = f"Replay {number} is over: {operation.state}. {operation.outcome}"
        raise RefusedError(message, "`sluice replay drop` deletes what it wrote into a shadow."
                           if undo else "`sluice replay JOB` begins another one.")
    return hands.resume(operation, say, undo=undo, restart=restart, reason=reason)


def _now(desk: Desk, plan: ReplayPlan, job: str) -> dict[str, Any]:
    sight = desk.place.eyes.sight(job, plan.spec.health)
    read = how_far(positions(desk.place.eyes.flink, job, plan.spans), plan.spans)
    return {"state": (sight.state or "unknown").lower(), "read": read,
            "restarts": sight.restarts, "exception": sight.exception}


def _as_json(one: Operation) -> dict[str, Any]:
    plan = replay_plan_from_json(one.plan)
    return {
        "number": one.number, "job": plan.job, "into": plan.into, "rate": plan.rate,
        "from": moment(plan.first * 1000), "to": moment(plan.end * 1000),
        "messages": plan.messages, "version": plan.release.version, "state": one.state,
        "lane": plan.lane(one.number).name, "person": one.person, "reason": one.reason,
        "outcome": one.outcome, "begun_at": one.begun_at.isoformat(),
        "ended_at": one.ended_at.isoformat() if one.ended_at else None,
    }
