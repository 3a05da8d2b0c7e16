"""Job `ingest`: events.raw -> clean, unique events in events.clean, the rest in events.dlq."""

from dataclasses import dataclass

from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.table import DataTypes, Schema, StreamTableEnvironment

from jobs.cleaning import CLEAN_TYPE, LETTERS, TENANTS, CleanEvents, CleaningPlan
from jobs.kafka import Delivery, create_topic_table, read_topic, write_topic
from jobs.lane import Lane

NAME = "ingest"
# Its group, and the beginning of its transactions' names.
_OWN = f"sluice-{NAME}"


@dataclass(frozen=True)
class IngestGraph:
    """Everything about the graph that can be set."""

    lane: Lane
    cleaning: CleaningPlan
    bootstrap: str
    clean_topic: str
    letter_topic: str
    transaction_timeout_ms: int
    dedupe_hours: float
    # How long a watermark waits for stragglers, and for a partition that has nothing to say.
    out_of_order_seconds: float
    idle_seconds: float

    def delivery(self, what: str) -> Delivery:
        """Return how one of the outputs is written."""
        return Delivery(
            self.lane, self.bootstrap, f"{_OWN}-{what}", self.transaction_timeout_ms
        )


def build(env: StreamExecutionEnvironment, graph: IngestGraph) -> None:
    """Add the whole job to an environment."""
    raw = read_topic(
        env, graph.lane, graph.bootstrap, graph.cleaning.raw_topic, _OWN, "events-raw"
    )
    tenants = read_topic(
        env, graph.lane, graph.bootstrap, graph.cleaning.reference_topic, _OWN,
        "reference-tenants", whole=True,
    )
    clean = (
        raw.connect(tenants.broadcast(TENANTS))
        .process(CleanEvents(graph.cleaning), CLEAN_TYPE)
        .name("clean")
        .uid("clean")
    )
    write_topic(
        clean.get_side_output(LETTERS), graph.delivery("dlq"), graph.letter_topic, "events-dlq"
    )
    _write_unique(env, clean, graph)


def _write_unique(env: StreamExecutionEnvironment, clean: DataStream, graph: IngestGraph) -> None:
    """Let each event id through once, inside the JVM.

    Keyed state reached from Python costs a call into Java for each access; Flink SQL's own
    deduplication keeps one boolean an id in RocksDB without leaving Java (docs/adr/0006).
    """
    tables = StreamTableEnvironment.create(env)
    config = tables.get_config()
    # Every operator made from SQL gets a uid from its place in the plan.
    config.set("table.exec.uid.generation", "ALWAYS")
    config.set("table.exec.uid.format", "<id>_<transformation>")
    config.set("table.exec.state.ttl", f"{round(graph.dedupe_hours * 3600)} s")
    config.set("table.exec.source.idle-timeout", f"{round(graph.idle_seconds * 1000)} ms")
    tables.create_temporary_view("cleaned", clean, (
        Schema.new_builder()
        .column("f0", DataTypes.BYTES())
        .column("f1", DataTypes.STRING())
        .column("f2", DataTypes.BIGINT())
        .column("f3", DataTypes.BYTES())
        .column_by_expression("occurred", "TO_TIMESTAMP_LTZ(f2, 3)")
        .column_by_expression("seen", "PROCTIME()")
        .watermark("occurred", f"occurred - INTERVAL '{graph.out_of_order_seconds:g}' SECOND")
        .build()
    ))
    create_topic_table(
        tables, graph.delivery("clean"), "clean", "tenant_id STRING, message BYTES",
        graph.clean_topic, key="tenant_id",
    )
    statements = tables.create_statement_set()
    statements.add_insert_sql("""
        INSERT INTO clean
        SELECT f1, f3 FROM (
            SELECT f1, f3, ROW_NUMBER() OVER (PARTITION BY f0 ORDER BY seen) AS place FROM cleaned
        ) WHERE place = 1
    """)
    statements.attach_as_datastream()
