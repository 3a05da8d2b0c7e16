"""Kafka: one broker that is its own controller (KRaft)."""

import os
import socket
import subprocess
from pathlib import Path
from textwrap import dedent

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from control.errors import SluiceError
from control.stack.class_archive import ClassArchive, shared_archive
from control.stack.component import Component, NotReadyError, StackContext
from control.stack.java import KAFKA_JAVA, LATE_COMPILER
from control.stack.process import Launch, base_environment

_CLUSTER_ID = "c2x1aWNlLWxvY2FsLXN0YQ"
_PROBE_MS = 3000


class Kafka(Component):
    """The broker that holds every topic."""

    name = "kafka"
    setting = "kafka_bootstrap"
    ports = {"broker": 9092, "controller": 9093}
    artifacts = ("kafka",)
    java = KAFKA_JAVA
    stop_stage = 4
    server_is = "kafka.Kafka"

    def address(self, context: StackContext) -> str:
        """Return the bootstrap address."""
        return self.host_port(context, "broker")

    def prepare(self, context: StackContext) -> None:
        """Write the broker's settings and format its storage once."""
        conf = context.home.conf / self.name
        conf.mkdir(parents=True, exist_ok=True)
        data = context.home.data / self.name
        data.mkdir(parents=True, exist_ok=True)
        (conf / "server.properties").write_text(self._properties(context, data), encoding="utf-8")
        (conf / "log4j2.yaml").write_text(_LOG4J, encoding="utf-8")
        if not (data / "meta.properties").exists():
            self._format(context)

    def _properties(self, context: StackContext, data: Path) -> str:
        broker = self.host_port(context, "broker")
        controller = self.host_port(context, "controller")
        return dedent(f"""\
            process.roles=broker,controller
            node.id=1
            controller.quorum.voters=1@{controller}
            listeners=PLAINTEXT://{broker},CONTROLLER://{controller}
            advertised.listeners=PLAINTEXT://{broker}
            controller.listener.names=CONTROLLER
            log.dirs={data}
            # Topics are made by the stack with the settings of the catalogue, never by a typo.
            auto.create.topics.enable=false
            offsets.topic.replication.factor=1
            # One broker needs few partitions of its own topics; each costs start and recovery time.
            offsets.topic.num.partitions=8
            transaction.state.log.replication.factor=1
            transaction.state.log.min.isr=1
            transaction.state.log.num.partitions=8
            share.coordinator.state.topic.replication.factor=1
            share.coordinator.state.topic.min.isr=1
            share.coordinator.state.topic.num.partitions=1
            # A job that is down for longer than its transaction's timeout loses the transaction.
            transaction.max.timeout.ms=86400000
            # After a kill -9 the new start waits until the old session has ended.
            broker.session.timeout.ms=3000
            broker.heartbeat.interval.ms=500
            group.initial.rebalance.delay.ms=0
            # Poison events are large on purpose: they must reach the dead letters.
            message.max.bytes=10485760
            """)

    def _command(
        self, context: StackContext, main: str, *arguments: str, options: tuple[str, ...] = ()
    ) -> tuple[str, ...]:
        java = context.java(KAFKA_JAVA)
        conf = context.home.conf / self.name
        jars = context.cache.jars(context.artifacts["kafka"])
        return (
            str(java.executable), "-Xms128m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
            *LATE_COMPILER, *options,
            f"-Dlog4j2.configurationFile={conf / 'log4j2.yaml'}",
            "-cp", os.pathsep.join(map(str, jars)), main, *arguments,
        )

    def _format(self, context: StackContext) -> None:
        conf = context.home.conf / self.name / "server.properties"
        done = subprocess.run(
            self._command(context, "kafka.tools.StorageTool", "format", "--cluster-id",
                          _CLUSTER_ID, "--config", str(conf), "--ignore-formatted"),
            capture_output=True, text=True, check=False, env=base_environment(),
        )
        if done.returncode != 0:
            message = f"Kafka's storage cannot be formatted: {done.stderr.strip()[-400:]}"
            raise SluiceError(message, "`sluice stack down --wipe` starts with empty data.")

    def launch(self, context: StackContext) -> Launch:
        """Start the broker."""
        conf = context.home.conf / self.name / "server.properties"
        options = self._archive(context).options()
        return Launch(
            self._command(context, "kafka.Kafka", str(conf), options=options),
            self.log(context), base_environment(), context.home.data / self.name,
        )

    def ended(self, context: StackContext) -> None:
        """Keep the class archive."""
        self._archive(context).keep()

    def _archive(self, context: StackContext) -> ClassArchive:
        jars = context.cache.jars(context.artifacts["kafka"])
        return shared_archive(context, self.name, self.name, context.java(KAFKA_JAVA), jars)

    def probe(self, context: StackContext) -> str:
        """Ask the broker for its metadata."""
        _knock(self.reach(context))
        try:
            admin = KafkaAdminClient(
                bootstrap_servers=self.reach(context), request_timeout_ms=_PROBE_MS,
                bootstrap_timeout_ms=_PROBE_MS, client_id="sluice-probe",
            )
        except (KafkaError, OSError, ValueError) as error:
            reason = f"no answer from {self.reach(context)}: {error}"
            raise NotReadyError(reason) from error
        try:
            cluster = admin.describe_cluster()
            if not cluster.get("brokers"):
                reason = "the broker has not joined its cluster yet"
                raise NotReadyError(reason)
        except KafkaError as error:
            raise NotReadyError(str(error)) from error
        finally:
            admin.close()
        return "" if self.external_address(context) else context.artifacts["kafka"].version


def _knock(bootstrap: str) -> None:
    """Look for an open port first: a client that finds none retries at the cost of a busy core."""
    host, _, port = bootstrap.partition(",")[0].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except (OSError, ValueError) as error:
        reason = f"no answer from {bootstrap}: {error}"
        raise NotReadyError(reason) from error


_LOG4J = dedent("""\
    Configuration:
      Appenders:
        Console:
          name: out
          PatternLayout:
            pattern: "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %c{1} %m%n"
      Loggers:
        Root:
          level: WARN
          AppenderRef:
            - ref: out
        Logger:
          - name: kafka.server.KafkaRaftServer
            level: INFO
          - name: org.apache.kafka.common.utils.AppInfoParser
            level: INFO
    """)
