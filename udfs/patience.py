"""Go on trying while a store is away: nothing is dropped, and each change is said once."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_LOG = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 15.0

T = TypeVar("T")


class AwayError(Exception):
    """The store cannot do it now; the same call may succeed later."""

    def __init__(self, detail: str, wait_seconds: float | None = None) -> None:
        super().__init__(detail)
        # What the store asked for, if it did.
        self.wait_seconds = wait_seconds


@dataclass
class Patience:
    """Calls again what an absent store could not do, with growing pauses, up to a limit."""

    store: str
    # After so long the job fails, for somebody to see. The state is safe: it starts there again.
    limit_seconds: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    retries: int = 0

    def call(self, action: Callable[[], T]) -> T:
        """Return what the action returns, however often it takes."""
        since: float | None = None
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                result = action()
            except AwayError as error:
                self.retries += 1
                if since is None:
                    since = self.clock()
                    _LOG.warning(
                        "%s cannot write: %s; the job waits for it, nothing is dropped",
                        self.store, error,
                    )
                elif self.clock() - since > self.limit_seconds:
                    _LOG.error("%s has not come back for %.0f s", self.store, self.clock() - since)
                    raise
                # Jitter: all subtasks lost it at the same moment.
                self.sleep(max(pause * random.uniform(0.7, 1.3),  # noqa: S311 - no secret
                               error.wait_seconds or 0))
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            if since is not None:
                _LOG.warning("%s writes again after %.1f s", self.store, self.clock() - since)
            return result
