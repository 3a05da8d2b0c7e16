"""Job `search` as the settings want it; refused when Elasticsearch has another template."""

from collections.abc import Sequence

from pyflink.datastream import StreamExecutionEnvironment

from control.errors import RefusedError
from control.search import template_version, wanted_template
from control.settings import Settings
from jobs.lane import LIVE, Lane
from jobs.search import NAME
from jobs.sink_plans import search_plan
from jobs.sink_setup import prepare_sink


def prepare(
    settings: Settings, jars: Sequence[str], lane: Lane = LIVE
) -> StreamExecutionEnvironment:
    """Return the environment that holds the whole job."""
    wanted = wanted_template()["version"]
    found = template_version(settings.elasticsearch_url)
    if found != wanted:
        message = (
            f"Elasticsearch has version {found or 'none'} of the events' template;"
            f" this job needs {wanted}."
        )
        raise RefusedError(message, "Run `sluice search maintain`, which puts it in place.")
    return prepare_sink(
        settings, jars, lane, NAME, settings.search_parallelism, settings.search_linger_ms,
        search_plan(settings, lane).open_sink,
    )
