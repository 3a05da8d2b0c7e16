"""The schema registry: Apicurio, spoken to by its Confluent API."""

from pathlib import Path

from control.stack.class_archive import ClassArchive, shared_archive
from control.stack.component import Component, StackContext
from control.stack.java import REGISTRY_JAVA
from control.stack.ports import HOST
from control.stack.probing import ask
from control.stack.process import Launch, base_environment

_API = "/apis/ccompat/v7"


class Registry(Component):
    """The registry of event schemas."""

    name = "registry"
    setting = "registry_url"
    ports = {"http": 8080, "management": 8090}
    artifacts = ("registry",)
    java = REGISTRY_JAVA
    stop_stage = 3
    # The first stop writes the class archive, 80 MB, on cores that other servers want, too.
    stop_seconds = 20
    server_is = "quarkus-run.jar"

    def address(self, context: StackContext) -> str:
        """Return the base address of the Confluent API."""
        return f"http://{self.host_port(context, 'http')}{_API}"

    def prepare(self, context: StackContext) -> None:
        """Unpack the server and make its data folder."""
        context.cache.unpacked(context.artifacts["registry"])
        (context.home.data / self.name).mkdir(parents=True, exist_ok=True)

    def launch(self, context: StackContext) -> Launch:
        """Start the registry on a database file of its own."""
        data = context.home.data / self.name
        # WRITE_DELAY=0: H2 would otherwise keep a commit in memory for half a second, and a
        # kill -9 in it would give an id away twice.
        database = f"jdbc:h2:file:{data / 'registry'};WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE"
        java = context.java(REGISTRY_JAVA)
        options = {
            "quarkus.http.host": HOST,
            "quarkus.http.port": str(context.port(self.name, "http")),
            "quarkus.management.host": HOST,
            "quarkus.management.port": str(context.port(self.name, "management")),
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": database,
            "quarkus.banner.enabled": "false",
        }
        return Launch(
            (
                str(java.executable), "-Xms64m", "-Xmx320m", "-XX:+UseSerialGC",
                # It starts twice as fast, and no load here is worth the second compiler.
                "-XX:TieredStopAtLevel=1",
                *self._archive(context).options(),
                *(f"-D{key}={value}" for key, value in options.items()),
                "-jar", str(self._jar(context)),
            ),
            self.log(context), base_environment(), data,
        )

    def ended(self, context: StackContext) -> None:
        """Keep the class archive."""
        self._archive(context).keep()

    @staticmethod
    def _jar(context: StackContext) -> Path:
        return context.cache.unpacked(context.artifacts["registry"]) / "quarkus-run.jar"

    def _archive(self, context: StackContext) -> ClassArchive:
        java = context.java(REGISTRY_JAVA)
        return shared_archive(context, self.name, self.name, java, [self._jar(context)])

    def probe(self, context: StackContext) -> str:
        """Ask for the subjects and the server's version."""
        base = self.reach(context)
        ask(f"{base}/subjects")
        if self.external_address(context):
            return ""
        info = ask(base.removesuffix(_API) + "/apis/registry/v3/system/info")
        return str(info.get("version", ""))
