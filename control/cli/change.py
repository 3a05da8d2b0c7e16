"""`sluice deploy`, `upgrade`, `rollback`, `scale`: what runs is changed."""

from dataclasses import replace
from typing import Any

import click
from rich.console import Console

from control.cli.carry_out import carry_out
from control.cli.change_options import (
    change_options,
    manner_of,
    max_age_option,
    max_refused_option,
    strategy_option,
    wish_of,
)
from control.cli.left_out import tell_left_out
from control.cli.manner import Manner, require_yes
from control.errors import MisuseError, RefusedError
from control.lifecycle.decide import (
    Wish,
    decide_change,
    decide_deploy,
    decide_rollback,
    refuse_running,
)
from control.lifecycle.deployments import Release
from control.lifecycle.perform import Held
from control.lifecycle.plan import How, Plan
from control.lifecycle.releases import find_spec, make_release
from control.lifecycle.rescale import ScalePlan, can_rescale
from control.lifecycle.run import Say
from control.lifecycle.words import Kind
from control.settings import Settings
from jobs.spec import JobSpec

_SHADOW = "shadow"


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
    manner, wish = manner_of(options), wish_of(options)
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

    carry_out(settings, name, console, manner, decide, gives_up=wish.fresh)


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
@max_age_option
@max_refused_option
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
    manner, wish = manner_of(options), wish_of(options)
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

    carry_out(settings, name, _console(), manner, decide, way_back=not options["no_way_back"])


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--to", type=int, metavar="N", help="The deployment (`sluice history JOB"
              " --deployments` lists them); default: the version before.")
@click.option("--from", "savepoint", metavar="SAVEPOINT",
              help="Go on from this state; default: that of now, if the old code can read it.")
@strategy_option
@max_age_option
@max_refused_option
@change_options
@click.pass_obj
def rollback(settings: Settings, /, name: str, to: int | None, **options: Any) -> None:
    """Go back to an earlier deployment: its archive, its settings."""
    manner, wish = manner_of(options), wish_of(options)
    require_yes(f"roll {name} back", manner)
    carry_out(settings, name, _console(), manner,
              lambda hands, _: decide_rollback(hands.place, hands.live(), name, to, wish))


@click.command()
@click.argument("name", metavar="JOB")
@click.argument("parallelism", type=click.IntRange(min=1))
@strategy_option
@max_age_option
@max_refused_option
@change_options
@click.pass_obj
def scale(settings: Settings, /, name: str, parallelism: int, **options: Any) -> None:
    """Change a job's parallelism: in place where Flink can, else by a savepoint."""
    manner, wish = manner_of(options), wish_of(options)
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

    carry_out(settings, name, _console(), manner, decide)


def _packed(
    hands: Held, spec: JobSpec, say: Say, *, allow_dirty: bool, parallelism: int | None
) -> Release:
    say(f"packing the code of {spec.name}")
    settings = hands.desk.settings
    dirty = allow_dirty or settings.allow_dirty
    if dirty:
        tell_left_out(settings.source)
    return make_release(settings, hands.desk.store, spec, parallelism=parallelism,
                        allow_dirty=dirty)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
