"""Find the few items of a batch that a store refuses, and let it take all others."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from udfs.reasons import RejectedError

T = TypeVar("T")


def write_by_halves(
    items: Sequence[T], write: Callable[[Sequence[T]], None]
) -> list[tuple[T, RejectedError]]:
    """Write all items that can be written; return the others, each with what was said of it.

    `write` takes a batch whole or raises RejectedError and takes nothing of it.
    """
    if not items:
        return []
    try:
        write(items)
    except RejectedError as error:
        if len(items) == 1:
            return [(items[0], error)]
        middle = len(items) // 2
        return [
            *write_by_halves(items[:middle], write), *write_by_halves(items[middle:], write)
        ]
    return []
