"""Flink: one JobManager and a few TaskManagers, started without the distribution's scripts.

The scripts hide the server's pid, start a Java process just to split the memory each time, and
want ssh for a second worker.
"""

import os
import sys
from pathlib import Path

from control.stack.class_archive import ClassArchive, shared_archive
from control.stack.component import Component, NotReadyError, StackContext
from control.stack.java import FLINK_JAVA, LATE_COMPILER
from control.stack.java_build import build_plugins
from control.stack.probing import ask
from control.stack.process import Launch, base_environment
from control.stack.servers.flink_conf import (
    flink_java,
    read_profile,
    resource_parameters,
    write_conf,
)
from control.stack.servers.flink_dist import FLINK_DIST, flink_jars, flink_version, log_options

# A Python function in thread mode lives inside its TaskManager, behind that process's one GIL:
# two cores want at least two of them. This product has six jobs of one slot each. Three workers
# of three slots run them all even while one worker is dead, leave three slots for the shadow of
# an upgrade, and cost about 0.3 GB each when idle.
TASK_MANAGERS = 3

_PROMETHEUS = "org.apache.flink.metrics.prometheus.LoopbackPrometheusReporterFactory"


class _FlinkServer(Component):
    """What the two kinds of Flink process share."""

    artifacts = ("flink-connectors", "java-compiler")
    java = FLINK_JAVA
    main: str
    resource_command: str
    options_key: str
    # Where Flink's pages find the log that they show.
    log_key: str

    def extra_settings(self, context: StackContext) -> dict[str, object]:
        """Return this process's own settings."""
        return {
            "metrics.reporter.prom.factory.class": _PROMETHEUS,
            "metrics.reporter.prom.port": context.port(self.name, "metrics"),
            "metrics.internal.query-service.port": context.port(self.name, "query"),
            "io.tmp.dirs": str(context.home.data / self.name),
            self.log_key: str(context.home.logs / f"{self.name}.log"),
        }

    def prepare(self, context: StackContext) -> None:
        """Write the settings, build the metrics plugin, make the folders."""
        (context.home.data / self.name).mkdir(parents=True, exist_ok=True)
        (context.home.path / "ha").mkdir(parents=True, exist_ok=True)
        conf = write_conf(context, self.name, self.extra_settings(context))
        resource_parameters(context, conf, self.resource_command, flink_java(context))
        self._plugins(context)

    @staticmethod
    def _plugins(context: StackContext) -> Path:
        return build_plugins(context, flink_java(context), FLINK_DIST)

    def launch(self, context: StackContext) -> Launch:
        """Start the process with Flink's own memory arithmetic."""
        java = flink_java(context)
        conf = context.home.conf / self.name
        memory = resource_parameters(context, conf, self.resource_command, java)
        profile = read_profile()
        options = f"{profile.get('env.java.opts.all', '')} {profile.get(self.options_key, '')}"
        jars = self._jars(context)
        environment = base_environment(Path(sys.executable).parent)
        environment |= {
            "FLINK_CONF_DIR": str(conf),
            "FLINK_LIB_DIR": str(FLINK_DIST / "lib"),
            "FLINK_OPT_DIR": str(FLINK_DIST / "opt"),
            "FLINK_PLUGINS_DIR": str(self._plugins(context)),
            "FLINK_HOME": str(FLINK_DIST),
            "FLINK_LOG_DIR": str(context.home.logs),
        }
        return Launch(
            (
                str(java.executable), *memory.jvm, *options.split(),
                *LATE_COMPILER, *self._archive_options(context),
                *log_options(context, self.name),
                "-cp", os.pathsep.join(map(str, jars)), self.main,
                "--configDir", str(conf), *memory.program,
            ),
            context.home.logs / f"{self.name}.out", environment,
            context.home.data / self.name,
        )

    def _archive(self, context: StackContext) -> ClassArchive:
        return shared_archive(
            context, self.main, self.name, flink_java(context), self._jars(context)
        )

    def _archive_options(self, context: StackContext) -> tuple[str, ...]:
        return self._archive(context).options()

    def ended(self, context: StackContext) -> None:
        """Keep the class archive."""
        self._archive(context).keep()

    @staticmethod
    def _jars(context: StackContext) -> list[Path]:
        return [
            *context.cache.jars(context.artifacts["flink-connectors"]),
            *flink_jars(),
        ]


class JobManager(_FlinkServer):
    """Flink's coordinator and its REST API."""

    name = "jobmanager"
    setting = "flink_url"
    ports = {"rest": 8081, "rpc": 6123, "blob": 6124, "metrics": 9250, "query": 6125}
    after = ("zookeeper",)
    stop_stage = 1
    main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    server_is = main
    resource_command = "GET_JM_RESOURCE_PARAMS"
    options_key = "env.java.opts.jobmanager"
    log_key = "web.log.path"

    def address(self, context: StackContext) -> str:
        """Return the REST address."""
        return f"http://{self.host_port(context, 'rest')}"

    def data(self, context: StackContext) -> Path:
        """Return the folder of the checkpoints, which is what matters here."""
        return context.home.checkpoints

    def probe(self, context: StackContext) -> str:
        """Ask for the cluster's overview."""
        return str(ask(f"{self.reach(context)}/overview").get("flink-version", flink_version()))


class TaskManager(_FlinkServer):
    """One worker."""

    after = ("zookeeper",)
    stop_stage = 2
    main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
    server_is = main
    resource_command = "GET_TM_RESOURCE_PARAMS"
    options_key = "env.java.opts.taskmanager"
    log_key = "taskmanager.log.path"
    # It keeps nothing of its own, and its tasks are restarted elsewhere once its heartbeats are
    # missed (12 s): a hung one is as good as a dead one.
    silent_seconds = 45

    def __init__(self, number: int) -> None:
        self.name = f"taskmanager-{number}"
        self.ports = {
            "rpc": 6130 + number, "data": 6140 + number, "metrics": 9250 + number,
            "query": 6150 + number,
        }

    def _archive_options(self, context: StackContext) -> tuple[str, ...]:
        archive = self._archive(context)
        # All workers load the same classes: the first one writes them down for all.
        useful = archive.file.exists() or self.name.endswith("-1")
        return archive.options() if useful else ()

    def address(self, context: StackContext) -> str:
        """Return the address of the worker's control port."""
        return self.host_port(context, "rpc")

    def extra_settings(self, context: StackContext) -> dict[str, object]:
        """Return this worker's name and ports."""
        return {
            **super().extra_settings(context),
            "taskmanager.resource-id": self.name,
            "taskmanager.rpc.port": context.port(self.name, "rpc"),
            "taskmanager.data.port": context.port(self.name, "data"),
        }

    def probe(self, context: StackContext) -> str:
        """Look for this worker among those that the JobManager knows, and that it is alive."""
        rest = JobManager().reach(context)
        for worker in ask(f"{rest}/taskmanagers").get("taskmanagers", []):
            if worker["id"] == self.name:
                details = ask(f"{rest}/taskmanagers/{self.name}")
                if str(details.get("path", "")).rpartition("@")[2].startswith(
                    self.host_port(context, "rpc")
                ):
                    return flink_version()
        reason = f"{self.name} has not registered with the JobManager yet"
        raise NotReadyError(reason)
