"""Flink's own client as a process: how it is called, and what it says when it fails."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from control.errors import RefusedError, SluiceError, TimedOutError
from control.settings import PREFIX, PROJECT_ROOT, Settings
from control.stack.class_archive import ClassArchive, shared_archive
from control.stack.component import StackContext
from control.stack.context import open_stack
from control.stack.servers.flink_conf import flink_java, read_profile
from control.stack.servers.flink_dist import FLINK_DIST, flink_jars, log_options

_TIMEOUT_SECONDS = 180
_PRODUCTION = PROJECT_ROOT / "flink-conf" / "production"
# How the driver says that it will not build the job; see jobs/driver.py.
_REFUSED = "Refused: "


@dataclass(frozen=True)
class ClientCommand:
    """A call of Flink's client, ready to be started."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    # What it has loaded, for the next one: to be kept once it has ended by itself.
    classes: ClassArchive


def client_command(
    settings: Settings, program: Sequence[str], more: Mapping[str, str] = MappingProxyType({}),
) -> ClientCommand:
    """Return how to let Flink's client build and submit a Python program.

    Without the distribution's script, which starts other Java processes first; and with the classes
    that an earlier client has loaded: it lives for seconds, most of them spent on loading.
    """
    context = open_stack(settings).context
    own = "flink_url" not in settings.explicit
    workers = settings.worker_python or (sys.executable if own else "")
    java = flink_java(context)
    jars = [*flink_jars(), *([] if sends_jars(settings) else _connectors(context))]
    archive = shared_archive(context, "flink-client", f"client-{os.getpid()}", java, jars)
    conf = context.home.conf / "jobmanager" if own else _PRODUCTION
    options = read_profile(conf / "config.yaml").get("env.java.opts.all", "")
    arguments = (
        str(java.executable), *str(options).split(), "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC", *archive.options(), *log_options(context, "flink-client"),
        "-cp", os.pathsep.join(map(str, jars)), "org.apache.flink.client.cli.CliFrontend",
        # The address is known: to ask ZooKeeper for it takes half a second of an upgrade's gap, and
        # elsewhere only Flink's REST API may be within reach.
        "run", "-d", "-D", "high-availability.type=NONE", "-m", urlsplit(settings.flink_url).netloc,
        "-pyclientexec", sys.executable, *(("-pyexec", workers) if workers else ()), *program,
    )
    environment = {
        **os.environ,
        f"{PREFIX}HOME": str(settings.home),
        # It tells of each of the planner's classes that it is no POJO.
        "ROOT_LOG_LEVEL": "WARN",
        "FLINK_CONF_DIR": str(conf),
        "FLINK_HOME": str(FLINK_DIST),
        "FLINK_LIB_DIR": str(FLINK_DIST / "lib"),
        "FLINK_OPT_DIR": str(FLINK_DIST / "opt"),
        "FLINK_PLUGINS_DIR": str(FLINK_DIST / "plugins"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **more,
    }
    return ClientCommand(arguments, environment, archive)


def connector_jars(settings: Settings) -> tuple[str, ...]:
    """Return the addresses of the connectors that a job takes along."""
    if not sends_jars(settings):
        return ()
    return tuple(jar.as_uri() for jar in _connectors(open_stack(settings).context))


def sends_jars(settings: Settings) -> bool:
    """Tell whether a job takes its connectors along: 50 MB, a second of each upgrade's gap."""
    if settings.send_jars is not None:
        return settings.send_jars
    return "flink_url" in settings.explicit


def _connectors(context: StackContext) -> list[Path]:
    connectors = context.artifacts["flink-connectors"]
    context.cache.fetch(context.cache.missing([connectors]), lambda _: None)
    return context.cache.jars(connectors)


def run_client(settings: Settings, name: str, program: Sequence[str]) -> str:
    """Let Flink's own client build and submit a Python program; return the job's id."""
    command = client_command(settings, program)
    try:
        done = subprocess.run(
            command.arguments, env=command.environment, cwd=PROJECT_ROOT, text=True,
            capture_output=True, check=False, timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        message = f"Flink's client did not submit {name} within {_TIMEOUT_SECONDS} s."
        raise TimedOutError(message, "`sluice jobs list` tells whether it runs.") from error
    command.classes.keep()
    found = re.search(r"JobID ([0-9a-f]{32})", done.stdout)
    if found is None:
        raise client_failure(name, done.stdout + done.stderr)
    return found[1]


def client_failure(name: str, output: str) -> SluiceError:
    """Return why a client did not submit its job, from what it printed."""
    lines = [line.strip() for line in output.splitlines()]
    for line in lines:
        if line.startswith(_REFUSED):
            return RefusedError(f"{name} was not started: {line.removeprefix(_REFUSED)}")
    # Python's own last word comes before Java's stack of it.
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    reason = errors[0] if errors else next((line for line in reversed(lines) if line), "no word")
    return SluiceError(
        f"{name} was not started: {reason[:400]}", "`sluice doctor` checks what it needs."
    )
