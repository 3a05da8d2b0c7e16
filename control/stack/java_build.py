"""Compile the stack's few lines of Java, with a compiler that needs no JDK."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from control.errors import SluiceError
from control.stack.java import Java

_SOURCES = Path(__file__).with_name("java_src")
_SERVICE = "org.apache.flink.metrics.reporter.MetricReporterFactory"
_FACTORY = "org.apache.flink.metrics.prometheus.LoopbackPrometheusReporterFactory"


def build_plugins(cache: Path, compiler: Path, java: Java, flink: Path) -> Path:
    """Return a Flink plugins folder that holds the loopback Prometheus reporter."""
    sources = sorted(_SOURCES.glob("*.java"))
    base = next((flink / "plugins" / "metrics-prometheus").glob("*.jar"))
    digest = hashlib.sha256(b"".join(map(Path.read_bytes, sources)) + base.name.encode())
    folder = cache / f"flink-plugins-{digest.hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not folder.exists():
            draft = folder.with_name(f".{folder.name}.draft")
            shutil.rmtree(draft, ignore_errors=True)
            plugin = draft / "metrics-prometheus"
            plugin.mkdir(parents=True)
            shutil.copy(base, plugin)
            _compile(sources, draft, compiler, java, [base, *(flink / "lib").glob("flink-dist*")])
            _pack(draft / "classes", plugin / "sluice-loopback-prometheus.jar")
            shutil.rmtree(draft / "classes")
            draft.rename(folder)
    return folder


def _compile(
    sources: list[Path], folder: Path, compiler: Path, java: Java, jars: list[Path]
) -> None:
    done = subprocess.run(
        [str(java.executable), "-jar", str(compiler), "-17", "-nowarn", "-proc:none",
         "-d", str(folder / "classes"), "-cp", os.pathsep.join(map(str, jars)),
         *map(str, sources)],
        capture_output=True, text=True, check=False,
    )
    if done.returncode != 0:
        message = f"The Prometheus reporter cannot be compiled: {done.stderr.strip()[-600:]}"
        raise SluiceError(message, "This is a fault of Sluice; please report it.")


def _pack(classes: Path, jar: Path) -> None:
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"META-INF/services/{_SERVICE}", f"{_FACTORY}\n")
        for file in sorted(classes.rglob("*.class")):
            archive.write(file, file.relative_to(classes))
