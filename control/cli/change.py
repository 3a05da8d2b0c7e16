"""`sluice deploy`, `upgrade`, `rollback`, `scale`: what runs is changed."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape

from control.cli.output import json_option, print_json, print_table
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
from control.lifecycle.rescale import ScalePlan, can_rescale
from control.lifecycle.run import Say
from control.lifecycle.snapshots import settle_pending
from control.lifecycle.watch import refusals
from control.lifecycle.words import Kind
from control.settings import Settings
from jobs.spec import JobSpec, spec_from_json

F = TypeVar("F", bound=Callable[..., Any])

_SHADOW = "shadow"
_STYLES = {Verdict.GOOD: "green", Verdict.WARNING: "yellow", Verdict.BAD: "red"}


@dataclass(frozen=True)
class Manner:
    """How a command goes about it."""

    reason: str = ""
    dry_run: bool = False
    # Ask nothing.
    yes: bool = False
    as_json: bool = False


def change_options(command: F) -> F:
    """Add the options that all changes have."""
    for option in reversed((
        click.option("--reason", default="", help="Why; kept in the history."),
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
    deploy_job(settings, name, Console(highlight=False, soft_wrap=True), wish, manner,
               allow_dirty=bool(options["allow_dirty"]), parallelism=options["parallelism"])


def deploy_job(
    settings: Settings, name: str, console: Console, wish: Wish, manner: Manner, *,
    allow_dirty: bool = False, parallelism: int | None = None,
) -> None:
    """Start a job, wait until all of it runs, and say so."""
    spec = find_spec(settings.source, name)
    begun = time.monotonic()
    with open_desk(settings) as desk, held(desk, name) as hands, saying(console, manner) as say:
        live = hands.live()
        # Before anything is packed.
        refuse_running(name, live)
        release = _packed(settings, hands, spec, say, allow_dirty=allow_dirty,
                          parallelism=parallelism)
        plan = decide_deploy(hands.place, release, live, wish)
        if _checked(hands, plan, console, manner, say):
            hands.begin(plan, Kind.DEPLOY, manner.reason, say)
            _print_running(hands, plan, console, manner, begun)


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
@click.option("--max-age", type=click.FloatRange(min=0), metavar="SECONDS",
              help="How old the last checkpoint may be with --strategy last-state.")
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
    if strategy == _SHADOW:
        seconds = options["trial_seconds"]
        wish = replace(wish, allow_difference=options["allow_difference"],
                       trial_seconds=spec.upgrade.trial_seconds if seconds is None else seconds)
    else:
        wish = replace(wish, how=How(strategy))
    console = Console(highlight=False, soft_wrap=True)
    begun = time.monotonic()
    with open_desk(settings) as desk, held(desk, name) as hands, saying(console, manner) as say:
        live = hands.live()
        before = hands.place.deployments.of_flink_job(live.id) if live else None
        parallelism = options["parallelism"] or (before.release.parallelism if before else None)
        release = _packed(settings, hands, spec, say, parallelism=parallelism,
                          allow_dirty=bool(options["allow_dirty"]))
        refused = 0.0
        if live is not None:
            refused = hands.place.eyes.sight(live.id, spec.health).share_refused
        plan = decide_change(hands.place, Kind.UPGRADE, release, live, refused, wish)
        if _checked(hands, plan, console, manner, say, way_back=not options["no_way_back"]):
            hands.begin(plan, Kind.UPGRADE, manner.reason, say)
            _print_running(hands, plan, console, manner, begun)


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--to", type=int, metavar="N", help="The deployment; default: the version before.")
@click.option("--from", "savepoint", metavar="SAVEPOINT",
              help="Go on from this state; default: that of now, if the old code can read it.")
@change_options
@click.pass_obj
def rollback(settings: Settings, /, name: str, to: int | None, **options: Any) -> None:
    """Go back to an earlier deployment: its archive, its settings."""
    manner, wish = _manner(options), _wish(options)
    console = Console(highlight=False, soft_wrap=True)
    begun = time.monotonic()
    with open_desk(settings) as desk, held(desk, name) as hands, saying(console, manner) as say:
        plan = decide_rollback(hands.place, hands.live(), name, to, wish)
        if not manner.as_json:
            console.print(escape(f"{plan.note[:1].upper()}{plan.note[1:]}."))
        if _checked(hands, plan, console, manner, say):
            hands.begin(plan, Kind.ROLLBACK, manner.reason, say)
            _print_running(hands, plan, console, manner, begun)


@click.command()
@click.argument("name", metavar="JOB")
@click.argument("parallelism", type=click.IntRange(min=1))
@change_options
@click.pass_obj
def scale(settings: Settings, /, name: str, parallelism: int, **options: Any) -> None:
    """Change a job's parallelism: in place where Flink can, else by a savepoint."""
    manner, wish = _manner(options), _wish(options)
    console = Console(highlight=False, soft_wrap=True)
    begun = time.monotonic()
    with open_desk(settings) as desk, held(desk, name) as hands, saying(console, manner) as say:
        live = hands.live()
        before = hands.place.deployments.of_flink_job(live.id) if live is not None else None
        if live is None or before is None:
            message = f"{name} does not run, or was not deployed by sluice."
            raise RefusedError(message, f"`sluice deploy {name} --parallelism {parallelism}`.")
        release = before.release.at(parallelism)
        if can_rescale(hands.place, live.id) and not manner.dry_run:
            outcome = hands.begin(
                ScalePlan(name, live.id, parallelism, before.number), Kind.SCALE, manner.reason,
                say,
            )
            click.echo(outcome, err=manner.as_json)
            return
        plan = decide_change(hands.place, Kind.SCALE, release, live, 0.0, wish)
        if _checked(hands, plan, console, manner, say):
            hands.begin(plan, Kind.SCALE, manner.reason, say)
            _print_running(hands, plan, console, manner, begun)


@contextmanager
def saying(console: Console, manner: Manner) -> Iterator[Say]:
    """Show progress: one line on a terminal, a line for each news elsewhere."""
    if manner.as_json:
        yield lambda _: None
    elif console.is_terminal:
        with console.status("looking") as status:
            yield lambda text: status.update(escape(text))
    else:
        last = [""]

        def say(text: str) -> None:
            # What is being waited for changes with every look; its first word does not.
            if text.split(maxsplit=1)[0] != last[0]:
                last[0] = text.split(maxsplit=1)[0]
                console.print(escape(text))

        yield say


def _packed(
    settings: Settings, hands: Held, spec: JobSpec, say: Say, *, allow_dirty: bool,
    parallelism: int | None,
) -> Release:
    say(f"packing the code of {spec.name}")
    return make_release(settings, hands.desk.store, spec, parallelism=parallelism,
                        allow_dirty=allow_dirty or settings.allow_dirty)


def _checked(
    hands: Held, plan: Plan, console: Console, manner: Manner, say: Say, *,
    way_back: bool = True,
) -> bool:
    """Build the new version, run the preflight, show the plan; tell whether to go on."""
    say(f"preparing version {plan.release.version}: Flink's client builds its graph")
    graph = hands.place.prepare(plan.release, plan.flink_job).graph()
    say("checking")
    if not manner.dry_run:
        settle_pending(hands.place, plan.release.job)
    checks = preflight(plan, gather(hands.desk.settings, hands.place, plan, graph))
    if not way_back:
        checks = [check for check in checks if check.name != "way back"]
    bad = [check for check in checks if check.verdict is Verdict.BAD]
    _show(console, plan, checks, manner)
    if bad:
        first = bad[0]
        message = f"{plan.kind} of {plan.release.job} is refused: {first.name}: {first.found}."
        raise RefusedError(message, first.way_out)
    if manner.dry_run:
        return False
    if not manner.yes and plan.suspend.how is not How.NOTHING:
        if not sys.stdin.isatty():
            message = f"Nobody can be asked whether to {plan.kind} {plan.release.job}."
            raise MisuseError(message, "Say --yes, or --dry-run to see the plan only.")
        click.confirm("Go on?", abort=True)
    return True


def show_checks(checks: list[Check]) -> None:
    """Print how checks ended, if there are any."""
    if checks:
        print_table(("check", "verdict", "found", "what to do"), [
            (check.name, f"[{_STYLES[check.verdict]}]{check.verdict}[/]", escape(check.found),
             escape(check.way_out)) for check in checks
        ])


def _show(console: Console, plan: Plan, checks: list[Check], manner: Manner) -> None:
    if manner.as_json:
        if manner.dry_run:
            print_json({"plan": plan.as_json(), "checks": [vars(check) for check in checks]})
        return
    quiet = plan.suspend.how is How.NOTHING and not manner.dry_run
    shown = [check for check in checks if not quiet or check.verdict is not Verdict.GOOD]
    show_checks(shown)
    if not quiet:
        for number, line in enumerate(plan.lines(), 1):
            console.print(escape(f"{number}. {line}"))


def _print_running(
    hands: Held, plan: Plan, console: Console, manner: Manner, begun: float
) -> None:
    release, spec = plan.release, spec_from_json(plan.release.spec)
    seconds = time.monotonic() - begun
    sight = hands.place.eyes.sight(plan.flink_job, spec.health)
    if manner.as_json:
        print_json({"job": release.job, "id": plan.flink_job, "version": release.version,
                    "archive": release.archive, "seconds": round(seconds, 1),
                    "judged": sight.judged, "refused": sight.refused})
        return
    console.print(f"{release.job} runs as job {plan.flink_job} after {seconds:.1f} s:"
                  f" {spec.purpose}.")
    refused = refusals(sight, spec.health.max_refused)
    if refused is not None:
        console.print(f"Warning: {refused}. `sluice dlq list` shows why.", style="yellow")


def _manner(options: dict[str, Any]) -> Manner:
    return Manner(options["reason"], bool(options["dry_run"]), bool(options["yes"]),
                  bool(options["as_json"]))


def _wish(options: dict[str, Any]) -> Wish:
    return Wish(
        start_from=options.get("savepoint"), fresh=bool(options.get("fresh")),
        allow_dropped=bool(options["allow_dropped"]),
        allow_unknown=bool(options["allow_unknown"]),
        watch_seconds=options["watch_seconds"], max_age_seconds=options.get("max_age"),
    )
