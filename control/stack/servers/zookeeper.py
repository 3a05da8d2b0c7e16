"""ZooKeeper from Flink's own distribution: the memory of Flink's high availability."""

import os
import socket
from pathlib import Path
from textwrap import dedent

from control.stack.class_archive import ClassArchive, shared_archive
from control.stack.component import Component, NotReadyError, StackContext
from control.stack.java import FLINK_JAVA
from control.stack.ports import HOST
from control.stack.process import Launch, base_environment
from control.stack.servers.flink_dist import FLINK_DIST, flink_version, log_options

_MAIN = "org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer"


class Zookeeper(Component):
    """Remembers which jobs run and where their last checkpoints lie."""

    name = "zookeeper"
    ports = {"client": 2181}
    java = FLINK_JAVA
    stop_stage = 3
    server_is = _MAIN

    def address(self, context: StackContext) -> str:
        """Return the client address."""
        return self.host_port(context, "client")

    def prepare(self, context: StackContext) -> None:
        """Write the settings."""
        data = context.home.data / self.name
        conf = context.home.conf / self.name
        for folder in (data, conf):
            folder.mkdir(parents=True, exist_ok=True)
        (data / "myid").write_text("1\n", encoding="utf-8")
        (conf / "zoo.cfg").write_text(dedent(f"""\
            tickTime=2000
            initLimit=10
            syncLimit=5
            dataDir={data}
            clientPort={context.port(self.name, "client")}
            clientPortAddress={HOST}
            admin.enableServer=false
            4lw.commands.whitelist=srvr
            # Snapshots and logs would pile up for ever; three are kept, checked each hour.
            autopurge.snapRetainCount=3
            autopurge.purgeInterval=1
            """), encoding="utf-8")

    def launch(self, context: StackContext) -> Launch:
        """Start one ZooKeeper, without peers."""
        java = context.java(FLINK_JAVA)
        return Launch(
            (
                str(java.executable), "-Xms16m", "-Xmx96m", "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1", *self._archive(context).options(),
                *log_options(context, self.name),
                "-cp", os.pathsep.join(map(str, self._jars())), _MAIN,
                "--zkConfigFile", str(context.home.conf / self.name / "zoo.cfg"), "--peerId", "1",
            ),
            context.home.logs / f"{self.name}.out", base_environment(),
            context.home.data / self.name,
        )

    def ended(self, context: StackContext) -> None:
        """Keep the class archive."""
        self._archive(context).keep()

    def _archive(self, context: StackContext) -> ClassArchive:
        java = context.java(FLINK_JAVA)
        return shared_archive(context, self.name, self.name, java, self._jars())

    @staticmethod
    def _jars() -> list[Path]:
        return sorted(jar for jar in (FLINK_DIST / "lib").glob("*.jar")
                      if jar.name.startswith(("flink-dist", "log4j")))

    def probe(self, context: StackContext) -> str:
        """Ask for the server's state by its four-letter command."""
        try:
            with socket.create_connection(
                (HOST, context.port(self.name, "client")), timeout=3
            ) as connection:
                connection.sendall(b"srvr")
                answer = b""
                while piece := connection.recv(4096):
                    answer += piece
        except OSError as error:
            raise NotReadyError(str(error)) from error
        if b"Mode:" not in answer:
            raise NotReadyError(answer.decode(errors="replace")[:200] or "no answer to srvr")
        version = answer.decode().partition("Zookeeper version: ")[2].partition("-")[0]
        return version or flink_version()

    def data(self, context: StackContext) -> Path:
        """Return the folder with the log and the snapshots."""
        return context.home.data / self.name
