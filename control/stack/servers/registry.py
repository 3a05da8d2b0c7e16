"""The schema registry: Apicurio, spoken to by its Confluent API."""


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
        program = context.cache.unpacked(context.artifacts["registry"])
        data = context.home.data / self.name
        # WRITE_DELAY=0: H2 would otherwise keep a commit in memory for half a second, and a
        # kill -9 in it would give an id away twice.
        database = f"jdbc:h2:file:{data / 'registry'};WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE"
        java = context.java(REGISTRY_JAVA, "The schema registry")
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
                *(f"-D{key}={value}" for key, value in options.items()),
                "-jar", str(program / "quarkus-run.jar"),
            ),
            self.log(context), base_environment(), data,
        )

    def probe(self, context: StackContext) -> str:
        """Ask for the subjects and the server's version."""
        base = self.reach(context)
        ask(f"{base}/subjects")
        if self.external_address(context):
            return ""
        info = ask(base.removesuffix(_API) + "/apis/registry/v3/system/info")
        return str(info.get("version", ""))
