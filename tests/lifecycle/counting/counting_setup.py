"""Job `counting` as the settings want it."""

from collections.abc import Sequence

from jobs.counting import build
from jobs.counting_variant import VARIANT
from pyflink.datastream import StreamExecutionEnvironment

from control.settings import Settings
from jobs.driver import environment


def prepare(settings: Settings, jars: Sequence[str]) -> StreamExecutionEnvironment:
    """Return the environment that holds the whole job."""
    env = environment(settings, jars, VARIANT["mode"], settings.ingest_parallelism)
    build(env, settings.kafka_bootstrap)
    return env
