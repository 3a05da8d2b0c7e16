"""The topics, tables and indices that a run beside the live job writes to."""

import time

from kafka.errors import UnknownTopicOrPartitionError
from psycopg import sql

from control.database import connect
from control.errors import RefusedError, TimedOutError
from control.kafka import admin_client, create_topics, topic_settings
from control.lanes.swap_indices import is_cut_off
from control.search import ask
from control.settings import Settings
from control.topics import TopicSpec
from jobs.lane import Into, Lane
from jobs.spec import JobSpec, OutputKind

# A deleted topic is listed for a moment more.
_FORGET_SECONDS = 30.0
_FORGET_PAUSE_SECONDS = 0.1

# What readers of the live topic count on, and writers run into.
_ALIKE = ("cleanup.policy", "message.timestamp.type", "max.message.bytes", "retention.ms")


def make_outlets(settings: Settings, spec: JobSpec, lane: Lane) -> None:
    """Make what a shadow writes to, of the same shape as the live ones. Harmless when repeated."""
    if lane.into is not Into.SHADOW:
        return
    topics = _shadow_topics(settings, spec, lane)
    if topics:
        create_topics(settings.kafka_bootstrap, topics, settings.kafka_replication)
    # Indices are made by whoever writes them, day by day.
    tables = _written(spec, OutputKind.TABLE)
    if tables:
        with connect(settings.timescale_dsn) as connection:
            for name in tables:
                schema, own = lane.table(name)
                connection.execute(
                    sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema))
                )
                connection.execute(
                    sql.SQL("CREATE TABLE IF NOT EXISTS {} (LIKE {} INCLUDING ALL)").format(
                        sql.Identifier(schema, own), sql.Identifier("public", name)
                    )
                )


def remove_outlets(settings: Settings, spec: JobSpec, lane: Lane) -> None:
    """Delete what a shadow wrote. Harmless when repeated."""
    if lane.into is not Into.SHADOW:
        return
    for name in _written(spec, OutputKind.INDEX):
        if is_cut_off(settings.elasticsearch_url, lane, name):
            message = f"A swap of {name} with {lane.name} was cut off: documents would be lost."
            raise RefusedError(message, "Finish it first: run the same swap again.")
    topics = {lane.topic(name) for name in _written(spec, OutputKind.TOPIC)}
    if topics:
        _delete_topics(settings.kafka_bootstrap, topics)
    tables = _written(spec, OutputKind.TABLE)
    if tables:
        with connect(settings.timescale_dsn) as connection:
            for name in tables:
                connection.execute(
                    sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(*lane.table(name)))
                )
    for name in _written(spec, OutputKind.INDEX):
        # Elasticsearch forbids wildcards when deleting: each is named.
        for index in ask("GET", settings.elasticsearch_url, f"/{lane.indices(name)}*"):
            ask("DELETE", settings.elasticsearch_url, f"/{index}")


def _delete_topics(bootstrap: str, topics: set[str]) -> None:
    """Delete topics and wait until the brokers have forgotten them: they may be made again."""
    deadline = time.monotonic() + _FORGET_SECONDS
    with admin_client(bootstrap) as admin:
        while left := topics.intersection(admin.list_topics()):
            if time.monotonic() > deadline:
                message = f"Kafka still has the topic {min(left)}, which was deleted."
                raise TimedOutError(message, "Remove the lane once more in a moment.")
            for name in left:
                try:
                    admin.delete_topics([name])
                except UnknownTopicOrPartitionError:
                    continue
            time.sleep(_FORGET_PAUSE_SECONDS)


def _written(spec: JobSpec, kind: OutputKind) -> list[str]:
    return [output.name for output in spec.writes if output.kind is kind]


def _shadow_topics(settings: Settings, spec: JobSpec, lane: Lane) -> tuple[TopicSpec, ...]:
    written = _written(spec, OutputKind.TOPIC)
    if not written:
        return ()
    with admin_client(settings.kafka_bootstrap) as admin:
        there = {one["name"]: len(one["partitions"])
                 for one in admin.describe_topics(written)}
        alike = {name: topic_settings(admin, name) for name, partitions in there.items()
                 if partitions}
    for name, partitions in there.items():
        if not partitions:
            message = f"The topic {name} is not there: a shadow of it cannot be made."
            raise RefusedError(message, "`sluice stack up` makes the topics.")
    return tuple(
        TopicSpec(lane.topic(name), partitions, f"a shadow of {name}",
                  {key: alike[name][key] for key in _ALIKE if key in alike[name]})
        for name, partitions in there.items()
    )
