"""Compile the stack's few lines of Java, with a compiler that needs no JDK."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from control.errors import SluiceError
from control.stack.component import StackContext
from control.stack.java import Java

_SOURCES = Path(__file__).with_name("java_src")
_SERVICES = {
    "META-INF/services/org.apache.flink.metrics.reporter.MetricReporterFactory":
        "org.apache.flink.metrics.prometheus.LoopbackPrometheusReporterFactory\n",
}


@dataclass(frozen=True)
class _Build:
    """One folder of sources and what it is compiled against."""

    name: str
    release: int
    jars: list[Path]

    @property
    def sources(self) -> list[Path]:
        return sorted((_SOURCES / self.name).glob("*.java"))

    def folder(self, cache: Path) -> Path:
        digest = hashlib.sha256(b"".join(map(Path.read_bytes, self.sources)))
        digest.update("\n".join(jar.name for jar in self.jars).encode())
        return cache / f"java-{self.name}-{digest.hexdigest()[:12]}"


def build_plugins(context: StackContext, java: Java, flink: Path) -> Path:
    """Return a Flink plugins folder that holds the loopback Prometheus reporter."""
    base = next((flink / "plugins" / "metrics-prometheus").glob("*.jar"))
    build = _Build("metrics", 17, [base, *sorted((flink / "lib").glob("flink-dist*"))])

    def finish(draft: Path) -> None:
        plugin = draft / "metrics-prometheus"
        plugin.mkdir()
        shutil.copy(base, plugin)
        _pack(draft / "classes", plugin / "sluice-loopback-prometheus.jar", _SERVICES)
        shutil.rmtree(draft / "classes")

    return _make(context, build, java, finish)


def build_search_node(context: StackContext, java: Java, program: Path) -> Path:
    """Return a folder with our main class for Elasticsearch and a module that replaces its own."""
    jars = sorted((program / "lib").glob("*.jar"))

    def finish(draft: Path) -> None:
        _pack(draft / "classes", draft / "search-node.jar", {})
        shutil.rmtree(draft / "classes")
        modules = draft / "modules"
        modules.mkdir()
        guard = next(jar for jar in jars if jar.name.startswith("elasticsearch-entitlement-"))
        _without_jdk_modules(guard, modules / guard.name)

    return _make(context, _Build("search", 21, jars), java, finish)


def build_savepoint_reader(context: StackContext, java: Java, flink: Path) -> Path:
    """Return a jar with the main class that says what a savepoint holds."""
    build = _Build("savepoint", 17, sorted((flink / "lib").glob("flink-dist*")))
    name = "savepoint-reader.jar"

    def finish(draft: Path) -> None:
        _pack(draft / "classes", draft / name, {})
        shutil.rmtree(draft / "classes")

    return _make(context, build, java, finish) / name


def _make(
    context: StackContext, build: _Build, java: Java, finish: Callable[[Path], None]
) -> Path:
    cache = context.settings.cache_dir
    folder = build.folder(cache)
    cache.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not folder.exists():
            draft = folder.with_name(f".{folder.name}.draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            compiler = context.artifacts["java-compiler"]
            # `up` has fetched it, but not every command comes after one.
            context.cache.fetch(context.cache.missing([compiler]), lambda _: None)
            _compile(build, draft / "classes", context.cache.jars(compiler)[0], java)
            finish(draft)
            draft.rename(folder)
    return folder


def _compile(build: _Build, classes: Path, compiler: Path, java: Java) -> None:
    done = subprocess.run(
        [str(java.executable), "-jar", str(compiler), f"-{build.release}", "-nowarn", "-proc:none",
         "-d", str(classes), "-cp", os.pathsep.join(map(str, build.jars)),
         *map(str, build.sources)],
        capture_output=True, text=True, check=False,
    )
    if done.returncode != 0:
        message = f"{build.name} cannot be compiled: {done.stderr.strip()[-600:]}"
        raise SluiceError(message, "This is a fault of Sluice; please report it.")


def _pack(classes: Path, jar: Path, texts: Mapping[str, str]) -> None:
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        for file in sorted(classes.rglob("*.class")):
            archive.write(file, file.relative_to(classes))


def _without_jdk_modules(jar: Path, copy: Path) -> None:
    """Copy a jar whose module asks for two modules of a JDK that nothing here uses.

    Only the agent that we leave out uses them, but Java resolves them before it starts. Empty
    modules in their place are refused: java.base knows the fingerprints of the real ones. So the
    names in the module's list of requirements (a length, then the text) become those of modules
    that every runtime has.
    """
    replaced = {"jdk.jdi": "java.sql", "jdk.jlink": "jdk.zipfs"}
    with zipfile.ZipFile(jar) as source, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "module-info.class":
                for name, other in replaced.items():
                    content = content.replace(_constant(name), _constant(other))
            target.writestr(entry, content)


def _constant(text: str) -> bytes:
    return b"\x01" + len(text).to_bytes(2, "big") + text.encode()
