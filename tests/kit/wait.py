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


def wait_until_steady(
    what: str, look: Callable[[], object], steady_seconds: int, seconds: float
) -> None:
    """Wait until a look, once a second, has shown the same for so many seconds."""
    seen: list[object] = []

    def steady() -> bool:
        seen.append(look())
        return len(seen) > steady_seconds and all(
            one == seen[-1] for one in seen[-steady_seconds:]
        )

    wait_until(what, steady, seconds, pause=1)
