"""Flink's distribution inside the apache-flink package, and what both of its servers share."""

from importlib import metadata
from pathlib import Path

from control.settings import PROJECT_ROOT
from control.stack.component import StackContext
from control.stack.packages import package_folder

FLINK_DIST = package_folder("pyflink")

PROFILE = PROJECT_ROOT / "flink-conf" / "local"


def flink_version() -> str:
    """Return Flink's version."""
    return metadata.version("apache-flink")


def flink_jars() -> list[Path]:
    """Return the jars of every process of Flink that may run Python."""
    return [
        *sorted((FLINK_DIST / "lib").glob("*.jar")),
        *(FLINK_DIST / "opt").glob("flink-python-*.jar"),
    ]


def log_options(context: StackContext, component: str) -> tuple[str, ...]:
    """Return the Java options that make a server log into its own file, as JSON.

    Not by `log.file`: beside that RocksDB would put a log of each of its databases, named after the
    whole path of it. They stay for ever, and a job that is scaled fails where the name is too long.
    """
    return (
        f"-Dsluice.log.file={context.home.logs / f'{component}.log'}",
        f"-Dlog4j.configurationFile={PROFILE / 'log4j.properties'}",
    )
