"""Make the settings folder of one Flink process from the local profile."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from control.errors import SluiceError
from control.stack.component import StackContext
from control.stack.home import read_json, write_json
from control.stack.java import FLINK_JAVA, Java
from control.stack.ports import HOST
from control.stack.servers.flink_dist import FLINK_DIST, PROFILE

_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"


def flatten(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Turn nested YAML into Flink's dotted keys."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def read_profile(path: Path = PROFILE / "config.yaml") -> dict[str, object]:
    """Read a profile's settings."""
    return flatten(YAML(typ="safe").load(path.read_text(encoding="utf-8")))


def local_settings(context: StackContext) -> dict[str, object]:
    """Return what both servers are told beyond the profile: addresses, ports and folders."""
    home = context.home
    return {
        "jobmanager.rpc.address": HOST,
        "jobmanager.bind-host": HOST,
        "jobmanager.rpc.port": context.port("jobmanager", "rpc"),
        # With high availability this one counts, not jobmanager.rpc.port.
        "high-availability.jobmanager.port": context.port("jobmanager", "rpc"),
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": context.port("jobmanager", "rest"),
        "blob.server.port": context.port("jobmanager", "blob"),
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "high-availability.type": "zookeeper",
        "high-availability.zookeeper.quorum": f"{HOST}:{context.port('zookeeper', 'client')}",
        "high-availability.storageDir": (home.path / "ha").as_uri(),
        "high-availability.cluster-id": "/sluice",
        "execution.checkpointing.dir": home.checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": home.savepoints.as_uri(),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
    }


def write_conf(context: StackContext, component: str, extra: dict[str, object]) -> Path:
    """Write a process's config.yaml and return its folder."""
    folder = context.home.conf / component
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        **read_profile(), **context.settings.flink, **local_settings(context), **extra
    }
    with (folder / "config.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(dict(sorted(settings.items())), file)
    return folder


@dataclass(frozen=True)
class ResourceParameters:
    """What Flink's own arithmetic makes of the memory settings."""

    jvm: tuple[str, ...]
    program: tuple[str, ...]


def resource_parameters(
    context: StackContext, conf: Path, command: str, java: Java
) -> ResourceParameters:
    """Ask Flink how to split the memory; remembered, because asking starts a Java process."""
    settings = (conf / "config.yaml").read_text(encoding="utf-8")
    memory = "".join(line for line in settings.splitlines(keepends=True)
                     if ".memory." in line or "numberOfTaskSlots" in line)
    key = hashlib.sha256(f"{command}\n{memory}".encode()).hexdigest()
    remembered = context.home.conf / "flink-memory.json"
    known = read_json(remembered) or {}
    if key not in known:
        known[key] = _ask(conf, command, java)
        write_json(remembered, known)
    jvm, program = known[key]
    return ResourceParameters(tuple(jvm.split()), tuple(program.split()))


def _ask(conf: Path, command: str, java: Java) -> tuple[str, str]:
    jars = [FLINK_DIST / "bin" / "bash-java-utils.jar", *sorted((FLINK_DIST / "lib").glob(
        "flink-dist*.jar"))]
    done = subprocess.run(
        [str(java.executable), "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, jars)),
         "org.apache.flink.runtime.util.bash.BashJavaUtils", command, "--configDir", str(conf)],
        capture_output=True, text=True, check=False,
    )
    answers = [line.partition(_RESULT)[2] for line in done.stdout.splitlines() if _RESULT in line]
    if done.returncode != 0 or not answers:
        message = f"Flink refuses its memory settings: {(done.stderr or done.stdout)[-600:]}"
        raise SluiceError(message, f"Check {PROFILE / 'config.yaml'}.")
    return answers[0], answers[1] if len(answers) > 1 else ""


def flink_java(context: StackContext) -> Java:
    """Return the Java that Flink runs on."""
    return context.java(FLINK_JAVA)
