"""Elasticsearch, the unmodified distribution, as one node."""

import os
from pathlib import Path
from textwrap import dedent

from control.stack.component import Component, NotReadyError, StackContext
from control.stack.java import ELASTICSEARCH_JAVA, LATE_COMPILER, Java
from control.stack.java_build import build_search_node
from control.stack.ports import HOST
from control.stack.probing import ask
from control.stack.process import Launch, base_environment

_HEAP_MB = 768

# What the distribution's launcher says, as far as it matters here: not its GC log, its heap dumps,
# nor its touching of every page of the heap at the start.
_OPTIONS = (
    f"-Xms{_HEAP_MB}m", f"-Xmx{_HEAP_MB}m", f"-XX:MaxDirectMemorySize={_HEAP_MB // 2}m",
    "-XX:+UseG1GC", "-XX:G1HeapRegionSize=4m", "-XX:InitiatingHeapOccupancyPercent=30",
    "-XX:G1ReservePercent=15", "-XX:+ExitOnOutOfMemoryError",
    "-XX:-OmitStackTraceInFastThrow",
    # Inlined, these make Java 23 and later slow.
    "-XX:CompileCommand=quiet",
    "-XX:CompileCommand=dontinline,java/lang/invoke/MethodHandle.setAsTypeCache",
    "-XX:CompileCommand=dontinline,java/lang/invoke/MethodHandle.asTypeUncached",
    "-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true",
    "-Dorg.apache.lucene.store.defaultReadAdvice=normal",
    "-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
    *(f"--add-opens=org.apache.lucene.core/org.apache.lucene.{package}=org.elasticsearch.server"
      for package in ("codecs.lucene99", "codecs.hnsw", "internal.vectorization")),
    "--enable-native-access=ALL-UNNAMED,org.elasticsearch.nativeaccess,"
    "org.elasticsearch.foreign,org.apache.lucene.core",
)


class Elasticsearch(Component):
    """The search index."""

    name = "elasticsearch"
    setting = "elasticsearch_url"
    ports = {"http": 9200, "transport": 9300}
    artifacts = ("elasticsearch", "java-compiler")
    java = ELASTICSEARCH_JAVA
    stop_stage = 3
    stop_seconds = 20
    server_is = "SearchNode"

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
        conf = self._conf(context)
        (conf / "elasticsearch.yml").write_text(self._settings(context), encoding="utf-8")
        (conf / "log4j2.properties").write_text(_LOG4J, encoding="utf-8")
        context.area.give(conf)
        self._node(context)

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

    def launch(self, context: StackContext) -> Launch:
        """Start the node by a main class of ours, as the distribution's launcher would.

        Without a class archive: its classes are in modules, and the JVM now and then fails to load
        an archived one ("package is sealed"). A search then lacks what a shard holds.
        """
        program, node = self._program(context), self._node(context)
        java = context.area.readable(self._java(context).home)
        environment = context.area.environment(base_environment())
        return Launch(
            (
                str(java / "bin" / "java"), *_OPTIONS, *LATE_COMPILER,
                f"-Djava.io.tmpdir={environment['TMPDIR']}",
                f"-Des.path.home={program}", "-Des.distribution.type=zip",
                f"-Dlog4j2.configurationFile={self._conf(context) / 'log4j2.properties'}",
                # The first of two modules of the same name is taken.
                "--module-path", f"{node / 'modules'}{os.pathsep}{program / 'lib'}",
                "--add-modules", "ALL-MODULE-PATH",
                "-cp", str(node / "search-node.jar"), "SearchNode", str(self._conf(context)),
            ),
            self.log(context), environment, context.area.path, context.area.account,
        )

    @staticmethod
    def _java(context: StackContext) -> Java:
        return context.java(ELASTICSEARCH_JAVA)

    def _node(self, context: StackContext) -> Path:
        node = build_search_node(context, self._java(context), self._program(context))
        return context.area.readable(node)

    def probe(self, context: StackContext) -> str:
        """Wait for a cluster whose shards are there; the distribution answers no `GET /`."""
        base = self.reach(context)
        status = ask(f"{base}/_cluster/health").get("status")
        if status == "red":
            reason = "cluster health is red: some indices cannot be reached yet"
            raise NotReadyError(reason)
        nodes = ask(f"{base}/_nodes/_local?filter_path=**.version").get("nodes", {})
        return next((str(node["version"]) for node in nodes.values()), "")


_LOG4J = dedent("""\
    status = error
    appender.out.type = Console
    appender.out.name = out
    appender.out.layout.type = PatternLayout
    appender.out.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
    rootLogger.level = info
    rootLogger.appenderRef.out.ref = out
    """)
