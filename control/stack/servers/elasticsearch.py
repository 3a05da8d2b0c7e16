"""Elasticsearch, the unmodified distribution, as one node."""

import os
from pathlib import Path
from textwrap import dedent

from control.stack.component import Component, NotReadyError, StackContext
from control.stack.java import ELASTICSEARCH_JAVA, Java
from control.stack.java_build import build_search_node
from control.stack.ports import HOST
from control.stack.probing import ask
from control.stack.process import Launch, base_environment

_HEAP = "768m"

# The second compiler took a third of the 16 CPU-seconds of a start (16 to 12 here). Called for
# ten times later, it still gets everything that a load makes hot.
_LATE_COMPILER = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)


class Elasticsearch(Component):
    """The search index."""

    name = "elasticsearch"
    setting = "elasticsearch_url"
    ports = {"http": 9200, "transport": 9300}
    artifacts = ("elasticsearch", "java-compiler")
    java = ELASTICSEARCH_JAVA
    stop_stage = 3
    # The distribution's launcher starts the server in a Java process of its own and leaves (-d).
    # This setting stands in the server's command line, whoever starts it, never in the launcher's.
    server_is = "-Des.networkaddress.cache.ttl="

    def address(self, context: StackContext) -> str:
        """Return the URL."""
        return f"http://{self.host_port(context, 'http')}"

    def data(self, context: StackContext) -> Path:
        """Return the folder of the indices."""
        return context.area.path / "elasticsearch"

    def prepare(self, context: StackContext) -> None:
        """Unpack the server where its account can read it, and write its settings."""
        context.area.create()
        data = self.data(context)
        for folder in (data, data / "data", data / "logs", self._conf(context)):
            context.area.folder(folder)
        program = self._program(context)
        conf = self._conf(context)
        for file in (program / "config").glob("*"):
            if file.is_file() and file.name not in {"elasticsearch.yml", "jvm.options"}:
                (conf / file.name).write_bytes(file.read_bytes())
        (conf / "elasticsearch.yml").write_text(self._settings(context), encoding="utf-8")
        (conf / "jvm.options").write_text(_jvm_options(program), encoding="utf-8")
        (conf / "runtime-log4j2.properties").write_text(_RUNTIME_LOG, encoding="utf-8")
        context.area.give(conf)
        java = self._java(context)
        if not _is_jdk(java):
            build_search_node(context, java, program)
        # The daemon writes its log itself; this is where people look for it.
        link = self.log(context)
        link.unlink(missing_ok=True)
        link.symlink_to(data / "logs" / "sluice.log")

    def _conf(self, context: StackContext) -> Path:
        return self.data(context) / "conf"

    @staticmethod
    def _program(context: StackContext) -> Path:
        return context.area.readable(context.cache.unpacked(context.artifacts["elasticsearch"]))

    def _settings(self, context: StackContext) -> str:
        data = self.data(context)
        return dedent(f"""\
            cluster.name: sluice
            node.name: sluice
            discovery.type: single-node
            http.host: {HOST}
            transport.host: {HOST}
            http.port: {context.port(self.name, "http")}
            transport.port: {context.port(self.name, "transport")}
            path.data: "{data / 'data'}"
            path.logs: "{data / 'logs'}"
            # An index is made by the stack's template or not at all, never by a typo.
            action.auto_create_index: "events-*,-*"
            # A developer's disk is often fuller than 85 %; the node must not turn read-only there.
            cluster.routing.allocation.disk.threshold_enabled: false
            xpack.security.enabled: false
            """)

    @staticmethod
    def _java(context: StackContext) -> Java:
        return context.java(ELASTICSEARCH_JAVA, "Elasticsearch")

    def launch(self, context: StackContext) -> Launch:
        """Start the node, by the distribution's own launcher where there is a JDK for it."""
        java = self._java(context)
        return self._launch_distribution(context, java) if _is_jdk(java) else (
            self._launch_on_runtime(context, java)
        )

    def _launch_on_runtime(self, context: StackContext, java: Java) -> Launch:
        program = self._program(context)
        node = context.area.readable(build_search_node(context, java, program))
        home = context.area.readable(java.home)
        log = self.data(context) / "logs" / "sluice.log"
        return Launch(
            (
                str(home / "bin" / "java"), f"-Xms{_HEAP}", f"-Xmx{_HEAP}", *_LATE_COMPILER,
                "-Des.networkaddress.cache.ttl=60", f"-Des.path.home={program}",
                "-Des.distribution.type=zip",
                f"-Dlog4j2.configurationFile={self._conf(context) / 'runtime-log4j2.properties'}",
                "--add-opens=java.base/java.nio=ALL-UNNAMED",
                "--enable-native-access=ALL-UNNAMED,org.elasticsearch.nativeaccess,"
                "org.elasticsearch.foreign,org.apache.lucene.core",
                "--module-path", str(node / "lib"), "--add-modules", "ALL-MODULE-PATH",
                "-cp", str(node / "classes"), "SearchNode", str(self._conf(context)),
            ),
            log, context.area.environment(base_environment()), context.area.path,
            context.area.account,
        )

    def _launch_distribution(self, context: StackContext, java: Java) -> Launch:
        environment = context.area.environment(base_environment())
        environment |= {
            "ES_JAVA_HOME": str(context.area.readable(java.home)),
            "ES_PATH_CONF": str(self._conf(context)),
            "ES_TMPDIR": environment["TMPDIR"],
            # The launcher lives for seconds; the second compiler only costs it time.
            "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1",
        }
        return Launch(
            (str(self._program(context) / "bin" / "elasticsearch"), "-d"),
            context.home.logs / "elasticsearch-start.log", environment, context.area.path,
            context.area.account, self.server_is,
        )

    def probe(self, context: StackContext) -> str:
        """Wait for a cluster whose shards are there; the distribution answers no `GET /`."""
        base = self.reach(context)
        status = ask(f"{base}/_cluster/health").get("status")
        if status == "red":
            reason = "cluster health is red: some indices cannot be reached yet"
            raise NotReadyError(reason)
        nodes = ask(f"{base}/_nodes/_local?filter_path=**.version").get("nodes", {})
        return next((str(node["version"]) for node in nodes.values()), "")


def _is_jdk(java: Java) -> bool:
    return ELASTICSEARCH_JAVA.accepts(java)


_RUNTIME_LOG = dedent("""\
    status = error
    appender.out.type = Console
    appender.out.name = out
    appender.out.layout.type = PatternLayout
    appender.out.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
    rootLogger.level = info
    rootLogger.appenderRef.out.ref = out
    """)


def _jvm_options(program: Path) -> str:
    """Take the distribution's options, with a small heap and without its rolling GC log."""
    lines = (program / "config" / "jvm.options").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(("-Xlog", "-Xms", "-Xmx"))]
    return os.linesep.join([*kept, *_LATE_COMPILER, f"-Xms{_HEAP}", f"-Xmx{_HEAP}", ""])
