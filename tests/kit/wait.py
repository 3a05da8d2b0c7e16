"""Wait for something, with a deadline and a message."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    what: str, condition: Callable[[], T | None], seconds: float = 60, pause: float = 0.2
) -> T:
    """Return the condition's first truthy answer, or fail saying what did not happen."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            message = f"after {seconds:.0f} s: not {what}; last answer: {answer!r}"
            raise AssertionError(message)
        time.sleep(pause)
