"""Carry a change of a job out: decide, check, show, ask, begin, say how it runs."""

import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.markup import escape

from control.cli.manner import (
    Manner,
    ask,
    refuse_bad,
    saying,
    show_checks,
    telling_failures,
)
from control.cli.output import print_json
from control.errors import RefusedError
from control.lifecycle.observe import gather
from control.lifecycle.open import open_desk
from control.lifecycle.perform import Held, held
from control.lifecycle.plan import How, Plan
from control.lifecycle.preflight import Check, Verdict, preflight
from control.lifecycle.rescale import ScalePlan, check_rescale
from control.lifecycle.run import Say
from control.lifecycle.snapshots import settle_pending
from control.lifecycle.watch import refusals
from control.lifecycle.words import Kind
from control.settings import Settings
from jobs.spec import spec_from_json


def carry_out(
    settings: Settings, name: str, console: Console, manner: Manner,
    decide: Callable[[Held, Say], Plan | ScalePlan], *, way_back: bool = True,
    gives_up: bool = False,
) -> None:
    """Decide, check, show, ask, carry out."""
    begun = time.monotonic()
    with telling_failures(manner), open_desk(settings) as desk, held(desk, name) as hands:
        with saying(console, manner) as say:
            plan = decide(hands, say)
            checks = _checks(hands, plan, manner, say)
        if not way_back:
            checks = [check for check in checks if check.name != "way back"]
        _show(console, plan, checks, manner)
        kind = Kind.SCALE if isinstance(plan, ScalePlan) else plan.kind
        try:
            refuse_bad(f"{kind} of {name}", plan.as_json(), checks)
        except RefusedError as error:
            if not manner.dry_run:
                hands.place.ledger.refuse(name, kind, plan.as_json(), manner.reason, error.message)
            raise
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
