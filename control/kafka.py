"""Kafka as the control plane sees it: topics made, compared and counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from control.errors import SluiceError
from control.topics import TopicSpec

_TIMEOUT_MS = 10_000
# Kafka's own default.
_DEFAULT_LONGEST_TRANSACTION = 900_000


@dataclass(frozen=True)
class TopicDifference:
    """Something about a topic that is not as its spec says."""

    topic: str
    what: str
    wanted: str
    found: str


@contextmanager
def admin_client(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """Open an admin client; whatever Kafka refuses becomes an error for a person."""
    client = None
    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap, client_id="sluice", request_timeout_ms=_TIMEOUT_MS,
            bootstrap_timeout_ms=_TIMEOUT_MS,
        )
        yield client
    except (KafkaError, OSError) as error:
        message = f"Kafka at {bootstrap} does not do as asked: {error}"
        raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
    finally:
        if client is not None:
            client.close()


def committed_offsets(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """Return up to where a job has surely worked: Flink commits what a checkpoint covers."""
    with admin_client(bootstrap) as admin:
        try:
            found = admin.list_group_offsets([group])
        except KafkaError:
            return {}
    return {part.partition: offset.offset
            for part, offset in found.get(group, {}).items() if part.topic == topic}


def delete_group(bootstrap: str, group: str) -> None:
    """Delete a group that nobody reads in any more; one that is not there may be deleted, too."""
    with admin_client(bootstrap) as admin:
        admin.delete_groups([group])


def create_topics(bootstrap: str, specs: tuple[TopicSpec, ...], replication: int) -> list[str]:
    """Make the topics that are missing; return their names."""
    created = []
    with admin_client(bootstrap) as admin:
        existing = set(admin.list_topics())
        for spec in specs:
            if spec.name in existing:
                continue
            topic = NewTopic(
                spec.name, num_partitions=spec.partitions, replication_factor=replication,
                topic_configs=spec.settings,
            )
            try:
                admin.create_topics([topic], timeout_ms=_TIMEOUT_MS)
            except TopicAlreadyExistsError:
                continue
            created.append(spec.name)
    return created


def compare_topics(bootstrap: str, specs: tuple[TopicSpec, ...]) -> list[TopicDifference]:
    """Return how the topics differ from their specs."""
    differences = []
    with admin_client(bootstrap) as admin:
        found = {entry["name"]: entry for entry in admin.describe_topics(
            [spec.name for spec in specs if spec.name in set(admin.list_topics())]
        )}
        for spec in specs:
            if spec.name not in found:
                differences.append(TopicDifference(spec.name, "topic", "there", "missing"))
                continue
            partitions = len(found[spec.name]["partitions"])
            # More than asked for is an operator's decision; fewer is a mistake.
            if partitions < spec.partitions:
                differences.append(TopicDifference(
                    spec.name, "partitions", str(spec.partitions), str(partitions)
                ))
            actual = topic_settings(admin, spec.name)
            differences += [
                TopicDifference(spec.name, key, value, actual.get(key, "not set"))
                for key, value in spec.settings.items() if actual.get(key) != value
            ]
    return differences


def longest_transaction(bootstrap: str) -> int:
    """Return for how many milliseconds the brokers let a transaction stay open."""
    with admin_client(bootstrap) as admin:
        brokers = [str(broker["broker_id"]) for broker in admin.describe_cluster()["brokers"]]
        limits = [
            int(_values(admin.describe_configs(
                [ConfigResource(ConfigResourceType.BROKER, name)], config_filter="all"
            ))
                .get("transaction.max.timeout.ms", _DEFAULT_LONGEST_TRANSACTION))
            for name in brokers
        ]
    return min(limits, default=_DEFAULT_LONGEST_TRANSACTION)


def topic_settings(admin: KafkaAdminClient, topic: str) -> dict[str, str]:
    """Return a topic's settings as the broker has them."""
    answer = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return _values(answer)


def _values(answer: object) -> dict[str, str]:
    # The shape differs between resource kinds: find the entries that carry a name and a value.
    if isinstance(answer, dict):
        if "value" in answer and "name" in answer:
            return {str(answer["name"]): str(answer["value"])}
        flat: dict[str, str] = {}
        for key, value in answer.items():
            inner = _values(value)
            if isinstance(value, dict) and "value" in value and "name" not in value:
                inner = {str(key): str(value["value"])}
            flat |= inner
        return flat
    if isinstance(answer, list | tuple):
        flat = {}
        for entry in answer:
            flat |= _values(entry)
        return flat
    return {}


def count_messages(bootstrap: str, topics: list[str]) -> dict[str, int]:
    """Return how many offsets each topic holds now, markers of transactions included."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, client_id="sluice-count")
    try:
        counts = {}
        for topic in topics:
            parts = [TopicPartition(topic, part)
                     for part in consumer.partitions_for_topic(topic) or ()]
            first, last = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
            counts[topic] = sum(last[part] - first[part] for part in parts)
        return counts
    except KafkaError as error:
        message = f"Kafka at {bootstrap} cannot be read: {error}"
        raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
    finally:
        consumer.close()
