"""A clock for tests: time passes only in sleep(), and what was planned for then happens."""

import heapq
from collections.abc import Callable
from itertools import count

_START = 1_795_000_000.0


class FakeClock:
    """Time that a test lets pass."""

    def __init__(self, start: float = _START) -> None:
        self._now = start
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def now(self) -> float:
        """Return seconds since 1970."""
        return self._now

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""
        return round(self._now * 1000)

    def sleep(self, seconds: float) -> None:
        """Let time pass; what was planned meanwhile happens in its order, each at its time."""
        if seconds < 0:
            message = f"nobody can sleep {seconds} s"
            raise ValueError(message)
        end = self._now + seconds
        while self._plans and self._plans[0][0] <= end:
            when, _, action = heapq.heappop(self._plans)
            self._now = max(self._now, when)
            action()
        self._now = max(self._now, end)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan something; without a delay it is done at once."""
        if seconds <= 0:
            action()
        else:
            heapq.heappush(self._plans, (self._now + seconds, next(self._numbers), action))
