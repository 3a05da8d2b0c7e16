"""Exchange what a lane has written with what the live job has written, over a span of times."""

from collections.abc import Callable

from control.database import Connection, connect
from control.dlq.letter import TOPIC as LETTERS
from control.errors import RefusedError
from control.lanes.compare import span_of_shadow
from control.lanes.findings import SwapFindings
from control.lanes.swap_indices import IndexSwap, is_cut_off
from control.lanes.swap_tables import swap_tables
from control.settings import Settings
from jobs.lane import Lane
from jobs.spec import JobSpec, OutputKind

__all__ = ["SwapFindings", "swap_lane", "swaps_cut_off"]

# Writes down what was exchanged.
Note = Callable[[Connection, SwapFindings], None]


def swap_lane(
    settings: Settings, spec: JobSpec, lane: Lane, first: int, end: int,
    say: Callable[[str], None], note: Note = lambda _, __: None,
) -> list[SwapFindings]:
    """Exchange the span of each table and index; the same once more brings back what was.

    A table is exchanged in one transaction, in which it is noted, too: whoever lost the answer can
    tell. Indices are not: what was cut off there, before it was noted or while it was, is finished
    by the next call. Dead letters stay where they are; other topics are refused, as nothing can be
    taken out of one.
    """
    span = span_of_shadow(lane, first, end)
    topics = [output.name for output in spec.writes
              if output.kind is OutputKind.TOPIC and output.name != LETTERS]
    if topics:
        message = f"{spec.name} writes to {', '.join(topics)}: nothing can be taken out of a topic."
        hint = "`--into live` writes the span into the live topic once more."
        raise RefusedError(message, hint)
    found = []
    for output in spec.writes:
        if output.kind is OutputKind.TOPIC:
            say(f"{output.title} stays as it is")
            continue
        say(f"{output.title}: exchanging")
        if output.kind is OutputKind.TABLE:
            with connect(settings.timescale_dsn) as connection, connection.transaction():
                found.append(swap_tables(connection, output, lane, span))
                note(connection, found[-1])
        else:
            url = settings.elasticsearch_url
            found.append(IndexSwap(url, output, lane, span, say).run(
                lambda one: _write_down(settings, note, one)
            ))
    return found


def swaps_cut_off(settings: Settings, spec: JobSpec, lane: Lane) -> list[str]:
    """Return the outputs whose last swap has not ended."""
    return [output.title for output in spec.writes if output.kind is OutputKind.INDEX
            and is_cut_off(settings.elasticsearch_url, lane, output.name)]


def _write_down(settings: Settings, note: Note, one: SwapFindings) -> None:
    with connect(settings.timescale_dsn) as connection:
        note(connection, one)
