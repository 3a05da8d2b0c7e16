"""Letters as rows that fit a hundred columns, and their counts."""

from collections import Counter
from collections.abc import Sequence

from control.dlq.letter import Letter, State
from control.events.render import printable

COLUMNS = ("letter", "time (UTC)", "reason", "stage", "tenant", "try", "state", "detail")
_WIDTH = 100
_GAP = 2
_LONGEST_TENANT = 14
_SHORTEST_DETAIL = 12

Counts = Counter[tuple[str, State]]


def rows(found: Sequence[tuple[Letter, State]]) -> list[list[str]]:
    """Return a row for each letter; details are cut to what the others leave them."""
    left = [
        [
            str(letter.id), f"{letter.time:%m-%d %H:%M:%S}", printable(letter.reason),
            printable(letter.stage), shortened(printable(letter.tenant_id or "-"), _LONGEST_TENANT),
            str(letter.attempt), state.value,
        ]
        for letter, state in found
    ]
    widths = [
        max(len(cell) for cell in column)
        for column in zip(COLUMNS[:-1], *left, strict=True)
    ]
    room = max(_SHORTEST_DETAIL, _WIDTH - sum(widths) - _GAP * len(widths))
    return [
        [*cells, shortened(printable(letter.detail), room)]
        for cells, (letter, _) in zip(left, found, strict=True)
    ]


def shortened(text: str, longest: int) -> str:
    """Return a text that is not longer than this."""
    return text if len(text) <= longest else f"{text[:longest - 1]}…"


def summary_rows(counts: Counts) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a summary: a row for each reason, the most frequent first."""
    states = [state for state in State if any(count for (_, of), count in counts.items()
                                              if of is state)]
    totals: Counter[str] = Counter()
    for (reason, _), count in counts.items():
        totals[reason] += count
    table = [
        [printable(reason), *(f"{counts[reason, state]:,}" for state in states), f"{total:,}"]
        for reason, total in totals.most_common()
    ]
    ends = [f"{sum(counts[reason, state] for reason in totals):,}" for state in states]
    columns = ["reason", *(state.value for state in states), "count"]
    return columns, [*table, ["all", *ends, f"{totals.total():,}"]]
