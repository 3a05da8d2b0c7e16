"""A small stateful job: how often was each key seen? One answer for each message, exactly once."""

import sys
from collections.abc import Iterator

from pyflink.common import SimpleStringSchema, Types, WatermarkStrategy
from pyflink.datastream import (
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import ValueStateDescriptor


# PyFlink has no types.
class Count(KeyedProcessFunction):  # type: ignore[misc]
    """Counts the messages of a key."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Get the state."""
        self._count = runtime_context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, value: str, _ctx: "KeyedProcessFunction.Context") -> Iterator[str]:
        """Answer `key:count` for a message."""
        if value == "poison":
            message = "a poisoned number"
            raise ValueError(message)
        count = (self._count.value() or 0) + 1
        self._count.update(count)
        yield f"{value}:{count}"


def main(bootstrap: str, source_topic: str, target_topic: str, jar: str) -> None:
    """Build and submit the job."""
    env = StreamExecutionEnvironment.get_execution_environment()
    env.add_jars(jar)
    env.set_parallelism(1)
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(bootstrap)
        .set_topics(source_topic)
        .set_group_id("counting")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(bootstrap)
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix("counting")
        .set_property("transaction.timeout.ms", "600000")
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(target_topic)
            .set_value_serialization_schema(SimpleStringSchema())
            .build()
        )
        .build()
    )
    (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers")
        .uid("numbers")
        .key_by(lambda value: value, key_type=Types.STRING())
        .process(Count(), output_type=Types.STRING())
        .uid("count")
        .sink_to(sink)
        .uid("answers")
    )
    env.execute("counting")


if __name__ == "__main__":
    main(*sys.argv[1:])
