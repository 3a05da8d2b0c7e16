"""Job `timescale` as the settings want it; refused when its table is not there."""

from collections.abc import Sequence

from pyflink.datastream import StreamExecutionEnvironment

from control.database import connect
from control.errors import RefusedError
from control.settings import Settings
from jobs.lane import LIVE, Lane
from jobs.sink_plans import timescale_plan
from jobs.sink_setup import prepare_sink
from jobs.timescale import NAME


def prepare(
    settings: Settings, jars: Sequence[str], lane: Lane = LIVE
) -> StreamExecutionEnvironment:
    """Return the environment that holds the whole job."""
    with connect(settings.timescale_dsn) as connection:
        found = connection.execute("SELECT to_regclass('public.events')").fetchone()
    if found is None or found[0] is None:
        message = "The database has no table events."
        raise RefusedError(message, "Run `sluice db migrate`.")
    plan = timescale_plan(settings, lane)
    return prepare_sink(
        settings, jars, lane, NAME, settings.timescale_parallelism, settings.timescale_linger_ms,
        plan.open_sink,
    )
