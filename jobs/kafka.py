"""Sources and sinks of the jobs: each with the uid that its state is found by."""

from dataclasses import dataclass

from pyflink.common import Types, WatermarkStrategy
from pyflink.common.serialization import ByteArraySchema
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee, Sink
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetResetStrategy,
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from jobs.lane import Into, Lane
from jobs.throttle import Throttle

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())

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
    env: StreamExecutionEnvironment, lane: Lane, bootstrap: str, topic: str, group: str, uid: str,
    *, whole: bool = False, committed_only: bool = True,
) -> DataStream:
    """Read a topic's messages as bytes: from the group's offsets, the lane's span, or the whole.

    The whole is for reference data, which every run needs all of.
    """
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(bootstrap)
        .set_topics(topic)
        .set_group_id(lane.own(group))
        .set_starting_offsets(_first_offsets(lane, whole=whole))
        .set_property(
            "isolation.level", "read_committed" if committed_only else "read_uncommitted"
        )
        # By its group a bounded lane shows that it has read all. Any other lane's would stay behind
        # when it is gone.
        .set_property("commit.offsets.on.checkpoint", str(lane.is_live or lane.is_bounded).lower())
        .set_value_only_deserializer(ByteArraySchema())
    )
    if lane.end is not None:
        source.set_bounded(KafkaOffsetsInitializer.latest() if whole
                           else KafkaOffsetsInitializer.timestamp(lane.end))
    for key, value in CONSUMER.items():
        source.set_property(key, value)
    # The time that counts is inside the message: watermarks are made after decoding.
    stream = env.from_source(
        source.build(), WatermarkStrategy.no_watermarks(), topic, type_info=BYTES,
    ).uid(uid)
    if lane.rate is None or whole:
        return stream
    throttle = Throttle(lane.rate / env.get_parallelism())
    return stream.map(throttle, BYTES).name("throttle").uid(f"{uid}-throttle")


def _first_offsets(lane: Lane, *, whole: bool) -> KafkaOffsetsInitializer:
    if whole:
        return KafkaOffsetsInitializer.earliest()
    if lane.first is not None:
        return KafkaOffsetsInitializer.timestamp(lane.first)
    return KafkaOffsetsInitializer.committed_offsets(KafkaOffsetResetStrategy.EARLIEST)


@dataclass(frozen=True)
class Delivery:
    """How messages are written: where, and in transactions of what name and length."""

    lane: Lane
    bootstrap: str
    prefix: str
    timeout_ms: int


def write_topic(stream: DataStream, delivery: Delivery, topic: str, uid: str) -> None:
    """Write bytes to a topic, exactly once."""
    lane = delivery.lane
    if lane.into is Into.NOTHING:
        stream.sink_to(_discarding()).name(topic).uid(uid)
        return
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(delivery.bootstrap)
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(lane.own(delivery.prefix))
        .set_property("transaction.timeout.ms", str(delivery.timeout_ms))
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(lane.topic(topic))
            .set_value_serialization_schema(ByteArraySchema())
            .build()
        )
    )
    for key, value in PRODUCER.items():
        sink.set_property(key, value)
    stream.sink_to(sink.build()).name(topic).uid(uid)


def create_topic_table(
    tables: StreamTableEnvironment, delivery: Delivery, name: str, columns: str, topic: str,
    key: str | None = None,
) -> None:
    """Make a topic a table that SQL writes to, exactly once: a value in bytes, and perhaps a key.

    PyFlink's own sink cannot write the key of a message; SQL's can.
    """
    lane = delivery.lane
    producer = {
        **PRODUCER, "bootstrap.servers": delivery.bootstrap,
        "transaction.timeout.ms": str(delivery.timeout_ms),
    }
    keyed = {
        "key.format": "raw", "key.fields": key, "value.fields-include": "EXCEPT_KEY",
    } if key else {}
    options = {
        "connector": "kafka",
        "topic": lane.topic(topic),
        **keyed,
        "value.format": "raw",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": lane.own(delivery.prefix),
        **{f"properties.{option}": value for option, value in producer.items()},
    }
    if lane.into is Into.NOTHING:
        options = {"connector": "blackhole"}
    written = ", ".join(f"{_quoted(option)} = {_quoted(value)}"
                        for option, value in options.items())
    tables.execute_sql(f"CREATE TEMPORARY TABLE {name} ({columns}) WITH ({written})")


def _discarding() -> Sink:
    kind = get_gateway().jvm.org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink
    return Sink(kind())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
