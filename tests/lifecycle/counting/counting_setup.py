"""Job `counting` as the settings want it."""

from collections.abc import Sequence

from jobs.counting import build
from jobs.counting_variant import VARIANT
from pyflink.datastream import StreamExecutionEnvironment

from control.settings import Settings
from jobs.driver import environment
from jobs.lane import LIVE, Lane


def prepare(
    settings: Settings, jars: Sequence[str], lane: Lane = LIVE
) -> StreamExecutionEnvironment:
    """Return the environment that holds the whole job."""
    env = environment(settings, jars, VARIANT["mode"], settings.ingest_parallelism)
    build(env, settings.kafka_bootstrap, lane)
    return env
