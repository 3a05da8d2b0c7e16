"""`sluice render`: write the files that other systems need to run the jobs."""

import re
import shlex
from importlib import metadata
from pathlib import Path

import click

from control.cli.output import json_option, print_json, print_table
from control.errors import SluiceError
from control.lifecycle.releases import read_specs
from control.render.files import State, compare, write
from control.render.k8s import Sources, Target, k8s_files, wanted_jobs
from control.settings import Settings
from control.stack.servers.flink_conf import read_profile

_NAMESPACE = "sluice"
_DONE = {State.SAME: "as it was", State.CHANGED: "written", State.MISSING: "written",
         State.LEFT_OVER: "deleted"}


def _name(context: click.Context, option: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value):
        message = "a name in Kubernetes has small letters, digits and dashes, at most 63."
        raise click.BadParameter(message, context, option)
    return value


@click.group()
def render() -> None:
    """Write what other systems need to run the jobs."""


@render.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=None,
              help="The folder to write to.  [default: k8s in the source tree]")
@click.option("--check", is_flag=True, help="Write nothing; fail if a file would change.")
@click.option("--image", default=None, help="The image of Flink and the jobs.  [default: sluice"
              " in this version]")
@click.option("--namespace", default=_NAMESPACE, show_default=True, callback=_name,
              help="Where the jobs run.")
@json_option
@click.pass_obj
def k8s(
    settings: Settings, out: Path | None, *, check: bool, image: str | None, namespace: str,
    as_json: bool,
) -> None:
    """Write the resources of Flink's Kubernetes operator: a session cluster and its jobs."""
    folder = out or settings.source / "k8s"
    profile = settings.source / "flink-conf" / "production"
    target = Target(
        image or f"sluice:{metadata.version('sluice')}", namespace,
        metadata.version("apache-flink"),
    )
    sources = Sources(
        read_profile(profile / "config.yaml"),
        (profile / "log4j-console.properties").read_text(encoding="utf-8"),
    )
    jobs = wanted_jobs(settings, read_specs(settings.source).values())
    rendered = k8s_files(target, jobs, sources)
    states = compare(folder, rendered)
    if not check:
        write(folder, rendered, states)
    _show(folder, states, check=check, as_json=as_json)
    different = [name for name, state in states.items() if state is not State.SAME]
    if check and different:
        message = f"In {folder} these files differ from the specs: {', '.join(different)}."
        raise SluiceError(message, f"`{_command(out, image, namespace)}` writes them anew.")


def _show(folder: Path, states: dict[str, State], *, check: bool, as_json: bool) -> None:
    if as_json:
        print_json([{"file": str(folder / name), "state": state.value, "written": not check
                     and state is not State.SAME} for name, state in states.items()])
        return
    print_table(("file", "state"), [
        (name, state.value if check else _DONE[state]) for name, state in states.items()
    ])


def _command(out: Path | None, image: str | None, namespace: str) -> str:
    words = ["sluice", "render", "k8s"]
    for option, value in (("--out", out), ("--image", image),
                          ("--namespace", namespace if namespace != _NAMESPACE else None)):
        if value is not None:
            words += [option, str(value)]
    return shlex.join(words)
