"""An even pace: messages leave when they are due, not in bursts."""

import time
from collections.abc import Callable

# What falls due within this time leaves together: at 20,000 a second 40 messages, at 500 one.
_TICK_SECONDS = 0.002

# After a stall this much is made up for at once; the rest of the stall is lost, and shows in the
# rate that is reported.
_CATCH_UP_SECONDS = 0.02

# A Ctrl-C is noticed after this time at most.
_LONGEST_SLEEP_SECONDS = 0.1


class Pace:
    """Tells how many messages may leave now; without a rate, as many as are wanted."""

    def __init__(
        self, rate: float | None, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._due = clock()

    def take(self, most: int) -> int:
        """Wait for a moment at most; return how many may leave now, perhaps none."""
        if self._rate is None:
            return most
        now = self._clock()
        if now < self._due:
            self._sleep(min(max(self._due - now, _TICK_SECONDS), _LONGEST_SLEEP_SECONDS))
            now = self._clock()
            if now < self._due:
                return 0
        self._due = max(self._due, now - _CATCH_UP_SECONDS)
        count = min(most, int((now - self._due) * self._rate) + 1)
        self._due += count / self._rate
        return count
