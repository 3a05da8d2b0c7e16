"""Compare the documents that two runs of a job have written."""

from collections.abc import Callable

from pydantic import SecretStr

from control.lanes.findings import OutputFindings
from control.lanes.index_pages import check_time, digest_of_source, documents, side_by_side
from control.reconcile.findings import Kind
from control.reconcile.span import Span
from jobs.lane import LIVE, Lane
from jobs.spec import Output

_REPORT_EVERY = 20_000


def compare_indices(
    url: SecretStr, output: Output, lane: Lane, span: Span, say: Callable[[str], None]
) -> OutputFindings:
    """Page through both sides in the order of their keys."""
    check_time(output)
    pairs = side_by_side(*(
        documents(url, one.indices(output.name), output.time, span) for one in (LIVE, lane)
    ))
    live = shadow = 0
    only_live, only_shadow, different = Kind(), Kind(), Kind()
    for seen, (ours, theirs) in enumerate(pairs, 1):
        if seen % _REPORT_EVERY == 0:
            say(f"{output.title}: {seen:,} documents compared")
        live += ours is not None
        shadow += theirs is not None
        if ours is None and theirs is not None:
            only_shadow.add(theirs.id)
        elif ours is not None and theirs is None:
            only_live.add(ours.id)
        elif ours is not None and theirs is not None and (
            digest_of_source(ours.source, output.of_the_run)
            != digest_of_source(theirs.source, output.of_the_run)
        ):
            different.add(ours.id)
    return OutputFindings(output.title, live, shadow, only_live, only_shadow, different)
