"""What the set-ups of several jobs ask for."""

import logging

from control.kafka import longest_transaction
from control.settings import Settings

_LOG = logging.getLogger(__name__)

def transaction_timeout(settings: Settings) -> int:
    """Return for how long a transaction may stay open, in milliseconds, as the broker allows."""
    wanted = round(settings.transaction_timeout_minutes * 60_000)
    longest = longest_transaction(settings.kafka_bootstrap)
    if longest < wanted:
        _LOG.warning(
            "the broker ends a transaction after %d minutes: a job that is down for longer loses"
            " what it had written since its last checkpoint; raise transaction.max.timeout.ms",
            longest // 60_000,
        )
    return min(wanted, longest)
