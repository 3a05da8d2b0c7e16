"""Ctrl-C as a wish: the work ends at the next good moment instead of in the middle."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Take a first Ctrl-C (or SIGTERM) as a wish to stop; a second one ends at once."""
    wish = Interruption()
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may have handlers.
        yield wish
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        if wish.asked:
            raise KeyboardInterrupt
        wish.asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
