"""Put in place what the servers must hold: topics, tables, the index template, schemas."""

from collections.abc import Callable

from control.db.migrations import migrate
from control.kafka import create_topics
from control.registry import COMPATIBILITY, RegistryClient
from control.schema.files import read_families
from control.schema.registration import look, register
from control.search import put_template
from control.settings import Settings
from control.stack.reporter import Reporter
from control.topics import TOPICS


class Provisioner:
    """Knows what to do once a server answers. Everything here is harmless when repeated."""

    def __init__(self, settings: Callable[[], Settings], reporter: Reporter) -> None:
        # Read only once a server answers: its address is known from then on.
        self._read_settings = settings
        self._reporter = reporter

    def __call__(self, component: str) -> None:
        """Provision one server."""
        steps = {
            "kafka": self._topics,
            "registry": self._schemas,
            "postgres": self._tables,
            "timescale-wasm": self._tables,
            "elasticsearch": self._template,
        }
        if component in steps:
            self._reporter.state(component, "provisioning")
            steps[component](self._read_settings())

    def _topics(self, settings: Settings) -> None:
        created = create_topics(
            settings.kafka_bootstrap, TOPICS, settings.kafka_replication
        )
        if created:
            self._reporter.note(f"    topics made: {', '.join(created)}")

    @staticmethod
    def _schemas(settings: Settings) -> None:
        with RegistryClient(settings.registry_url) as registry:
            if registry.compatibility() != COMPATIBILITY:
                registry.set_compatibility(COMPATIBILITY)
            register(registry, look(registry, read_families(settings.schemas)))

    def _tables(self, settings: Settings) -> None:
        applied = migrate(settings.timescale_dsn)
        if applied:
            names = ", ".join(migration.file for migration in applied)
            self._reporter.note(f"    migrations applied: {names}")

    @staticmethod
    def _template(settings: Settings) -> None:
        put_template(settings.elasticsearch_url)
