"""Sources and sinks of the jobs: each with the uid that its state is found by."""

from pyflink.common import Types, WatermarkStrategy
from pyflink.common.serialization import ByteArraySchema
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetResetStrategy,
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.table import StreamTableEnvironment

# Messages of 10 MiB are taken; a dead letter carries one and says why.
LARGEST_REQUEST = 12 * 2**20

# A batch of one partition; with lz4 about 1,000 events.
PRODUCER = {
    "compression.type": "lz4",
    "batch.size": str(256 * 1024),
    "linger.ms": "5",
    "max.request.size": str(LARGEST_REQUEST),
    "buffer.memory": str(64 * 2**20),
}

# By default each few bytes are an answer of their own: at 2,500 events/s fetching took 16 % of a
# core. An event now waits 10 ms at most for company; a fast topic fills 64 KiB sooner.
CONSUMER = {
    "fetch.min.bytes": str(64 * 1024),
    "fetch.max.wait.ms": "10",
    "partition.discovery.interval.ms": "30000",
}


def read_topic(
    env: StreamExecutionEnvironment, bootstrap: str, topic: str, group: str, uid: str,
    *, from_start: bool = False, committed_only: bool = True,
) -> DataStream:
    """Read a topic's messages as bytes, from the group's offsets or the start."""
    earliest = KafkaOffsetsInitializer.earliest()
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(bootstrap)
        .set_topics(topic)
        .set_group_id(group)
        .set_starting_offsets(
            earliest if from_start
            else KafkaOffsetsInitializer.committed_offsets(KafkaOffsetResetStrategy.EARLIEST)
        )
        .set_property(
            "isolation.level", "read_committed" if committed_only else "read_uncommitted"
        )
        .set_value_only_deserializer(ByteArraySchema())
    )
    for key, value in CONSUMER.items():
        source.set_property(key, value)
    # The time that counts is inside the message: watermarks are made after decoding.
    return env.from_source(
        source.build(), WatermarkStrategy.no_watermarks(), topic,
        type_info=Types.PRIMITIVE_ARRAY(Types.BYTE()),
    ).uid(uid)


def write_topic(
    stream: DataStream, bootstrap: str, topic: str, prefix: str, timeout_ms: int, uid: str
) -> None:
    """Write bytes to a topic, exactly once."""
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(bootstrap)
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(prefix)
        .set_property("transaction.timeout.ms", str(timeout_ms))
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(topic)
            .set_value_serialization_schema(ByteArraySchema())
            .build()
        )
    )
    for key, value in PRODUCER.items():
        sink.set_property(key, value)
    stream.sink_to(sink.build()).name(topic).uid(uid)


def create_topic_table(
    tables: StreamTableEnvironment, name: str, columns: str, topic: str, bootstrap: str,
    prefix: str, timeout_ms: int, key: str | None = None,
) -> None:
    """Make a topic a table that SQL writes to, exactly once: a value in bytes, and perhaps a key.

    PyFlink's own sink cannot write the key of a message; SQL's can.
    """
    producer = {
        **PRODUCER, "bootstrap.servers": bootstrap, "transaction.timeout.ms": str(timeout_ms),
    }
    keyed = {
        "key.format": "raw", "key.fields": key, "value.fields-include": "EXCEPT_KEY",
    } if key else {}
    options = {
        "connector": "kafka",
        "topic": topic,
        **keyed,
        "value.format": "raw",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": prefix,
        **{f"properties.{option}": value for option, value in producer.items()},
    }
    written = ", ".join(f"{_quoted(option)} = {_quoted(value)}"
                        for option, value in options.items())
    tables.execute_sql(f"CREATE TEMPORARY TABLE {name} ({columns}) WITH ({written})")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
