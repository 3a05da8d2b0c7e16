"""`sluice deploy`, `upgrade`, `rollback`, `scale`: what runs is changed."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape

from control.cli.manner import (
    Manner,
    ask,
    reason_option,
    refuse_bad,
    require_yes,
    saying,
    show_checks,
    telling_refusals,
)
from control.cli.output import json_option, print_json
from control.errors import MisuseError, RefusedError
from control.lifecycle.decide import (
    Wish,
    decide_change,
    decide_deploy,
    decide_rollback,
    refuse_running,
)
from control.lifecycle.deployments import Release
from control.lifecycle.observe import gather
from control.lifecycle.open import open_desk
from control.lifecycle.perform import Held, held
from control.lifecycle.plan import How, Plan
from control.lifecycle.preflight import Check, Verdict, preflight
from control.lifecycle.releases import find_spec, make_release
from control.lifecycle.rescale import ScalePlan, can_rescale, check_rescale
from control.lifecycle.run import Say
from control.lifecycle.snapshots import settle_pending
from control.lifecycle.watch import refusals
from control.lifecycle.words import Kind
from control.settings import Settings
from jobs.spec import JobSpec, spec_from_json

F = TypeVar("F", bound=Callable[..., Any])

_SHADOW = "shadow"


def change_options(command: F) -> F:
    """Add the options that all changes have."""
    for option in reversed((
        reason_option,
        click.option("--dry-run", is_flag=True, help="Print the plan and touch nothing."),
        click.option("--yes", is_flag=True, help="Ask nothing."),
        click.option("--allow-dropped", is_flag=True,
                     help="Give up state that has no place in the new version."),
        click.option("--allow-unknown", is_flag=True,
                     help="Go on from state although nobody knows which code wrote it."),
        click.option("--watch", "watch_seconds", type=click.FloatRange(min=0), default=None,
                     help="Seconds that the new version is watched; default: the job's policy."),
        json_option,
    )):
        command = option(command)
    return command


_STRATEGY = click.option(
    "--strategy", type=click.Choice([How.SAVEPOINT.value, How.LAST_CHECKPOINT.value]),
    default=How.SAVEPOINT.value, show_default=True,
    help="What runs is stopped with a savepoint; or cancelled, to go on from its last checkpoint.",
)
_MAX_AGE = click.option(
    "--max-age", type=click.FloatRange(min=0), metavar="SECONDS",
    help="How old the last checkpoint may be with --strategy last-state.",
)


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--from", "savepoint", metavar="SAVEPOINT",
              help="Go on from this state; default: that which the job ended with.")
@click.option("--fresh", is_flag=True, help="Begin without state, giving up what there is.")
@click.option("--parallelism", type=click.IntRange(min=1), help="Parallel tasks.")
@click.option("--allow-dirty", is_flag=True, help="Deploy a tree that differs from its commit.")
@change_options
@click.pass_obj
def deploy(settings: Settings, /, name: str, **options: Any) -> None:
    """Start a job that does not run: from its last state, from a savepoint, or fresh."""
    if options["fresh"] and options["savepoint"]:
        message = "--fresh and --from exclude each other."
        raise MisuseError(message, "Leave one of them out.")
    manner, wish = _manner(options), _wish(options)
    deploy_job(settings, name, _console(), wish, manner,
               allow_dirty=bool(options["allow_dirty"]), parallelism=options["parallelism"])


def deploy_job(
    settings: Settings, name: str, console: Console, wish: Wish, manner: Manner, *,
    allow_dirty: bool = False, parallelism: int | None = None,
) -> None:
    """Start a job, wait until all of it runs, and say so."""
    spec = find_spec(settings.source, name)
    if wish.fresh:
        require_yes(f"deploy {name} without state", manner)

    def decide(hands: Held, say: Say) -> Plan:
        live = hands.live()
        # Before anything is packed.
        refuse_running(name, live)
        release = _packed(hands, spec, say, allow_dirty=allow_dirty, parallelism=parallelism)
        return decide_deploy(hands.place, release, live, wish)

    _change(settings, name, console, manner, decide, gives_up=wish.fresh)


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--strategy", type=click.Choice(["savepoint", "last-state", "shadow"]),
              default=None, help="The old one is stopped with a savepoint; or cancelled, to go on"
              " from its last checkpoint; or the new one is tried beside it first.  [default: the"
              " job's policy]")
@click.option("--trial", "trial_seconds", type=click.FloatRange(min=0), metavar="SECONDS",
              help="How long it is tried with --strategy shadow.  [default: the job's policy]")
@click.option("--allow-difference", type=click.FloatRange(0, 1), default=0.0, metavar="SHARE",
              help="The share of records that may differ in the trial.  [default: 0]")
@_MAX_AGE
@click.option("--parallelism", type=click.IntRange(min=1), help="Parallel tasks.")
@click.option("--allow-dirty", is_flag=True, help="Deploy a tree that differs from its commit.")
@click.option("--no-way-back", is_flag=True,
              help="Also where what runs cannot be started again.")
@change_options
@click.pass_obj
def upgrade(settings: Settings, /, name: str, **options: Any) -> None:
    """Put the version of this tree in the place of what runs, without losing state.

    What is not well is taken back by itself: exit code 1, and what ran before runs again.
    """
    spec = find_spec(settings.source, name)
    strategy = options["strategy"] or spec.upgrade.strategy
    manner, wish = _manner(options), _wish(options)
    require_yes(f"upgrade {name}", manner)
    if strategy == _SHADOW:
        seconds = options["trial_seconds"]
        wish = replace(wish, allow_difference=options["allow_difference"],
                       trial_seconds=spec.upgrade.trial_seconds if seconds is None else seconds)
    else:
        wish = replace(wish, how=How(strategy))

    def decide(hands: Held, say: Say) -> Plan:
        live = hands.live()
        before = hands.place.deployments.of_flink_job(live.id) if live else None
        parallelism = options["parallelism"] or (before.release.parallelism if before else None)
        release = _packed(hands, spec, say, parallelism=parallelism,
                          allow_dirty=bool(options["allow_dirty"]))
        refused = 0.0
        if live is not None:
            refused = hands.place.eyes.sight(live.id, spec.health).share_refused
        return decide_change(hands.place, Kind.UPGRADE, release, live, refused, wish)

    _change(settings, name, _console(), manner, decide, way_back=not options["no_way_back"])


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--to", type=int, metavar="N", help="The deployment (`sluice history JOB"
              " --deployments` lists them); default: the version before.")
@click.option("--from", "savepoint", metavar="SAVEPOINT",
              help="Go on from this state; default: that of now, if the old code can read it.")
@_STRATEGY
@_MAX_AGE
@change_options
@click.pass_obj
def rollback(settings: Settings, /, name: str, to: int | None, **options: Any) -> None:
    """Go back to an earlier deployment: its archive, its settings."""
    manner, wish = _manner(options), _wish(options)
    require_yes(f"roll {name} back", manner)
    _change(settings, name, _console(), manner,
            lambda hands, _: decide_rollback(hands.place, hands.live(), name, to, wish))


@click.command()
@click.argument("name", metavar="JOB")
@click.argument("parallelism", type=click.IntRange(min=1))
@_STRATEGY
@_MAX_AGE
@change_options
@click.pass_obj
def scale(settings: Settings, /, name: str, parallelism: int, **options: Any) -> None:
    """Change a job's parallelism: in place where Flink can, else by a savepoint."""
    manner, wish = _manner(options), _wish(options)
    require_yes(f"scale {name}", manner)

    def decide(hands: Held, _: Say) -> Plan | ScalePlan:
        live = hands.live()
        before = hands.place.deployments.of_flink_job(live.id) if live is not None else None
        if live is None or before is None:
            message = f"{name} does not run, or was not deployed by sluice."
            raise RefusedError(message, f"`sluice deploy {name} --parallelism {parallelism}`.")
        if can_rescale(hands.place, live.id):
            return ScalePlan(name, live.id, parallelism, before.number)
        release = before.release.at(parallelism)
        return decide_change(hands.place, Kind.SCALE, release, live, 0.0, wish)

    _change(settings, name, _console(), manner, decide)


def _change(
    settings: Settings, name: str, console: Console, manner: Manner,
    decide: Callable[[Held, Say], Plan | ScalePlan], *, way_back: bool = True,
    gives_up: bool = False,
) -> None:
    """Decide, check, show, ask, carry out."""
    begun = time.monotonic()
    with telling_refusals(manner), open_desk(settings) as desk, held(desk, name) as hands:
        with saying(console, manner) as say:
            plan = decide(hands, say)
            checks = _checks(hands, plan, manner, say)
        if not way_back:
            checks = [check for check in checks if check.name != "way back"]
        _show(console, plan, checks, manner)
        kind = Kind.SCALE if isinstance(plan, ScalePlan) else plan.kind
        refuse_bad(f"{kind} of {name}", plan.as_json(), checks)
        if manner.dry_run:
            if manner.as_json:
                print_json({"plan": plan.as_json(), "checks": [vars(check) for check in checks]})
            return
        # Nobody need be asked to start what does not run; unless state is lost by it.
        if gives_up or not _only_starts(plan):
            ask(f"{kind} {name}", manner, "Say --yes, or --dry-run to see the plan only.")
        with saying(console, manner) as say:
            outcome = hands.begin(plan, kind, manner.reason, say)
        seconds = time.monotonic() - begun
        if isinstance(plan, ScalePlan):
            _print_scaled(plan, outcome, manner, seconds)
        else:
            _print_running(hands, plan, console, manner, seconds)


def _packed(
    hands: Held, spec: JobSpec, say: Say, *, allow_dirty: bool, parallelism: int | None
) -> Release:
    say(f"packing the code of {spec.name}")
    settings = hands.desk.settings
    return make_release(settings, hands.desk.store, spec, parallelism=parallelism,
                        allow_dirty=allow_dirty or settings.allow_dirty)


def _checks(hands: Held, plan: Plan | ScalePlan, manner: Manner, say: Say) -> list[Check]:
    """Build the new version and run the preflight."""
    if isinstance(plan, ScalePlan):
        _settle(hands, manner, say)
        return check_rescale(hands.place, plan)
    say(f"preparing version {plan.release.version}: Flink's client builds its graph")
    graph = hands.place.prepare(plan.release, plan.flink_job).graph()
    _settle(hands, manner, say)
    return preflight(plan, gather(hands.desk.settings, hands.place, plan, graph))


def _settle(hands: Held, manner: Manner, say: Say) -> None:
    say("checking")
    if not manner.dry_run:
        settle_pending(hands.place, hands.job)


def _only_starts(plan: Plan | ScalePlan) -> bool:
    return isinstance(plan, Plan) and plan.suspend.how is How.NOTHING


def _show(
    console: Console, plan: Plan | ScalePlan, checks: list[Check], manner: Manner
) -> None:
    if manner.as_json:
        return
    note = plan.note if isinstance(plan, Plan) else ""
    if note:
        style = "yellow" if _only_starts(plan) else ""
        console.print(escape(f"{note[:1].upper()}{note[1:]}."), style=style)
    quiet = _only_starts(plan) and not manner.dry_run
    # What the note says need not be said again in the table.
    show_checks([check for check in checks if not (quiet and check.verdict is Verdict.GOOD)
                 and not (note and check.found == note)])
    if not quiet:
        for number, line in enumerate(plan.lines(), 1):
            console.print(escape(f"{number}. {line}"))


def _print_scaled(plan: ScalePlan, outcome: str, manner: Manner, seconds: float) -> None:
    if manner.as_json:
        print_json({"job": plan.job, "id": plan.flink_job, "deployment": plan.deployment,
                    "parallelism": plan.parallelism, "in_place": True,
                    "seconds": round(seconds, 1), "outcome": outcome})
    else:
        click.echo(outcome)


def _print_running(
    hands: Held, plan: Plan, console: Console, manner: Manner, seconds: float
) -> None:
    release, spec = plan.release, spec_from_json(plan.release.spec)
    sight = hands.place.eyes.sight(plan.flink_job, spec.health)
    if manner.as_json:
        print_json({"job": release.job, "id": plan.flink_job, "version": release.version,
                    "archive": release.archive, "seconds": round(seconds, 1),
                    "judged": sight.judged, "refused": sight.refused, "note": plan.note})
        return
    console.print(f"{release.job} runs as job {plan.flink_job} after {seconds:.1f} s:"
                  f" {spec.purpose}.")
    refused = refusals(sight, spec.health.max_refused)
    if refused is not None:
        console.print(f"Warning: {refused}. `sluice dlq list` shows why.", style="yellow")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _manner(options: dict[str, Any]) -> Manner:
    return Manner(options["reason"], bool(options["dry_run"]), bool(options["yes"]),
                  bool(options["as_json"]))


def _wish(options: dict[str, Any]) -> Wish:
    strategy = options.get("strategy")
    return Wish(
        how=How(strategy) if strategy in list(How) else How.SAVEPOINT,
        start_from=options.get("savepoint"), fresh=bool(options.get("fresh")),
        allow_dropped=bool(options["allow_dropped"]),
        allow_unknown=bool(options["allow_unknown"]),
        watch_seconds=options["watch_seconds"], max_age_seconds=options.get("max_age"),
    )
