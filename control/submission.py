"""Submit a job with Flink's own client."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from control.errors import RefusedError, SluiceError, TimedOutError
from control.flink import FlinkClient
from control.settings import PREFIX, PROJECT_ROOT, Settings
from control.stack.component import StackContext
from control.stack.context import open_stack
from control.stack.servers.flink_conf import flink_java
from control.stack.servers.flink_dist import FLINK_DIST
from jobs.catalogue import JobSpec

_TIMEOUT_SECONDS = 180
_PRODUCTION = PROJECT_ROOT / "flink-conf" / "production"
# How the driver says that it will not build the job; see jobs/driver.py.
_REFUSED = "Refused: "


def submit(settings: Settings, job: JobSpec, savepoint: str | None = None) -> str:
    """Start a job that does not run yet, with a savepoint's state if asked to; return its id."""
    with FlinkClient(settings.flink_url) as flink:
        if (live := flink.live_job(job.name)) is not None:
            message = f"{job.name} is there already: job {live.id}, {live.state.lower()}."
            raise RefusedError(message, "Nothing was started.")
    jars = _jars(open_stack(settings).context)
    return run_client(settings, job.name, ["-pym", "jobs.driver", job.name, *jars], savepoint)


def run_client(
    settings: Settings, name: str, program: Sequence[str], savepoint: str | None = None
) -> str:
    """Let Flink's own client build and submit a Python program; return the job's id."""
    context = open_stack(settings).context
    command = [
        "/bin/bash", str(FLINK_DIST / "bin" / "flink"), "run", "-d",
        "-m", urlsplit(settings.flink_url).netloc,
        *(("-s", savepoint) if savepoint else ()),
        "-pyclientexec", sys.executable, "-pyexec", sys.executable, *program,
    ]
    try:
        done = subprocess.run(
            command, env=_environment(settings, context), cwd=PROJECT_ROOT, text=True,
            capture_output=True, check=False, timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        message = f"Flink's client did not submit {name} within {_TIMEOUT_SECONDS} s."
        raise TimedOutError(message, "`sluice jobs list` tells whether it runs.") from error
    found = re.search(r"JobID ([0-9a-f]{32})", done.stdout)
    if found is None:
        raise _failure(name, done.stdout + done.stderr)
    return found[1]


def _jars(context: StackContext) -> list[str]:
    connectors = context.artifacts["flink-connectors"]
    context.cache.fetch(context.cache.missing([connectors]), lambda _: None)
    return [jar.as_uri() for jar in context.cache.jars(connectors)]


def _environment(settings: Settings, context: StackContext) -> dict[str, str]:
    own = "flink_url" not in settings.explicit
    conf = context.home.conf / "jobmanager" if own else _PRODUCTION
    return {
        **os.environ,
        f"{PREFIX}HOME": str(settings.home),
        "FLINK_CONF_DIR": str(conf),
        "FLINK_LOG_DIR": str(context.home.logs),
        "JAVA_HOME": str(flink_java(context).home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def _failure(name: str, output: str) -> SluiceError:
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
