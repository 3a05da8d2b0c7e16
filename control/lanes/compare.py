"""Compare what a lane has written with what the live job has written, output by output."""

from collections.abc import Callable

from control.database import connect
from control.errors import MisuseError, RefusedError
from control.events.decoding import Decoding
from control.events.reader import open_reader
from control.lanes.compare_indices import compare_indices
from control.lanes.compare_tables import compare_tables
from control.lanes.compare_topics import TopicComparison
from control.lanes.findings import OutputFindings
from control.reconcile.span import Span
from control.registry import RegistryClient
from control.settings import Settings
from jobs.lane import Into, Lane
from jobs.spec import JobSpec, Output, OutputKind

__all__ = ["OutputFindings", "compare_lane", "span_of_shadow"]


def compare_lane(
    settings: Settings, spec: JobSpec, lane: Lane, first: int, end: int,
    say: Callable[[str], None],
) -> list[OutputFindings]:
    """Compare each output over a span of times, in microseconds since 1970; the end is outside."""
    span = span_of_shadow(lane, first, end)
    found = []
    for output in spec.writes:
        say(f"{output.title}: comparing")
        if output.kind is OutputKind.TOPIC:
            found.append(_topics(settings, output, lane, span, say))
        elif output.kind is OutputKind.TABLE:
            with connect(settings.timescale_dsn) as connection:
                found.append(compare_tables(connection, output, lane, span))
        else:
            url = settings.elasticsearch_url
            found.append(compare_indices(url, output, lane, span, say))
    return found


def span_of_shadow(lane: Lane, first: int, end: int) -> Span:
    """Return the span; refused for a lane that has nothing of its own, or an empty span."""
    if lane.into is not Into.SHADOW:
        message = f"{lane.name or 'The live job'} has no outputs of its own: it writes into" + (
            " nothing." if lane.into is Into.NOTHING else " the live ones."
        )
        raise RefusedError(message, "Only a lane with `--into shadow` has.")
    if first >= end:
        message = "The span ends before it begins."
        raise MisuseError(message, "Give a beginning that is before the end.")
    return Span(first, end)


def _topics(
    settings: Settings, output: Output, lane: Lane, span: Span, say: Callable[[str], None]
) -> OutputFindings:
    with (
        RegistryClient(settings.registry_url) as registry,
        open_reader(settings.kafka_bootstrap) as reader,
    ):
        comparison = TopicComparison(
            reader, Decoding(registry.schema_by_id), output, span, say
        )
        try:
            return comparison.run(lane.topic(output.name))
        except MisuseError as error:
            hint = f"It is there once {lane.name} has started, until it is removed."
            raise RefusedError(error.message, hint) from error
