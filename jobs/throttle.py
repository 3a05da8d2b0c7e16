"""Read no faster than asked."""

import time

from pyflink.datastream import MapFunction

# In so many parts of a second the rate is kept: a checkpoint waits for no longer sleep.
_PARTS = 20


# PyFlink has no types.
class Throttle(MapFunction):  # type: ignore[misc]
    """Lets so many messages a second through, and no more after a pause."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def open(self, _runtime_context: object) -> None:
        """Begin to count."""
        self._each = max(1, round(self._rate / _PARTS))
        self._begun = time.monotonic()
        self._seen = 0

    def map(self, value: bytes) -> bytes:
        """Return the message when its turn has come."""
        self._seen += 1
        if self._seen >= self._each:
            left = self._begun + self._seen / self._rate - time.monotonic()
            if left > 0:
                time.sleep(left)
            self._begun, self._seen = time.monotonic(), 0
        return value
