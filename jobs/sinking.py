"""What the jobs that write events.clean into a store have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import DataTypes, Schema, StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from jobs.kafka import Delivery, create_topic_table, read_topic
from jobs.lane import Lane
from udfs.batch_sink import BatchSink


@dataclass(frozen=True)
class SinkGraph:
    """Everything about the graph that can be set."""

    lane: Lane
    name: str
    # Called in the worker: connections do not travel.
    open_sink: Callable[[], BatchSink[Any]]
    bootstrap: str
    clean_topic: str
    letter_topic: str
    transaction_timeout_ms: int
    # For how long a second letter of one event is the same letter.
    letter_hours: float


# PyFlink has no types.
class WriteEvents(ScalarFunction):  # type: ignore[misc]
    """Writes a batch; what it returns are the dead letters of it.

    Flink calls it with all records of a bundle, and lets no checkpoint barrier pass before it
    returns: what a checkpoint covers is in the store.
    """

    def __init__(self, open_sink: Callable[[], BatchSink[Any]]) -> None:
        self._open_sink = open_sink

    def open(self, function_context: FunctionContext) -> None:
        """Prepare the writer and the metrics."""
        self._sink = self._open_sink()
        group = function_context.get_metric_group().add_group("sluice")
        self._written = group.counter("events_written")
        self._refused = group.counter("events_refused")
        self._batches = group.counter("batches")

    def is_deterministic(self) -> bool:
        """Keep the planner from calling it more or less often."""
        return False

    # The name is PyFlink's.
    def eval(self, messages: "pd.Series[bytes]") -> "pd.Series[str]":
        """Write the messages; return a letter's key and bytes where one is refused."""
        done = self._sink.write(messages.tolist())
        self._batches.inc()
        self._refused.inc(done.refused)
        self._written.inc(len(messages) - done.refused)
        return pd.Series(
            [None if letter is None else f"{letter[0]} {letter[1].hex()}"
             for letter in done.letters],
            dtype=object,
        )


def build_sink(env: StreamExecutionEnvironment, graph: SinkGraph) -> None:
    """Add a whole sink to an environment; its state is its offsets, and which letters it wrote."""
    tables = StreamTableEnvironment.create(env)
    config = tables.get_config()
    config.set("table.exec.uid.generation", "ALWAYS")
    config.set("table.exec.uid.format", "<id>_<transformation>")
    config.set("table.exec.state.ttl", f"{round(graph.letter_hours * 3600)} s")
    # Uncommitted: the store takes a second copy of an event for the first (docs/adr/0003).
    clean = read_topic(
        env, graph.lane, graph.bootstrap, graph.clean_topic, f"sluice-{graph.name}",
        "events-clean", committed_only=False,
    )
    write = udf(
        WriteEvents(graph.open_sink), result_type=DataTypes.STRING(), func_type="pandas",
        name=f"write_to_{graph.name}",
    )
    messages = tables.from_data_stream(clean).alias("message")
    results = tables.to_data_stream(messages.select(write(messages.message).alias("letter")))
    tables.create_temporary_view("results", results, (
        Schema.new_builder()
        .column("letter", DataTypes.STRING())
        .column_by_expression("seen", "PROCTIME()")
        .build()
    ))
    create_topic_table(
        tables,
        Delivery(graph.lane, graph.bootstrap, f"sluice-{graph.name}-dlq",
                 graph.transaction_timeout_ms),
        "letters", "letter BYTES", graph.letter_topic,
    )
    statements = tables.create_statement_set()
    # An event may come twice, when ingest took back what it had not committed: one letter tells.
    statements.add_insert_sql("""
        INSERT INTO letters
        SELECT UNHEX(SPLIT_INDEX(letter, ' ', 1)) FROM (
            SELECT letter, ROW_NUMBER() OVER (
                PARTITION BY SPLIT_INDEX(letter, ' ', 0) ORDER BY seen
            ) AS place FROM results WHERE letter IS NOT NULL
        ) WHERE place = 1
    """)
    statements.attach_as_datastream()
