"""Where a test can cut a replay off; see control/fault.py."""

from enum import StrEnum


class Point(StrEnum):
    """Where a replay can be cut off."""

    LEASED = "leased"
    INTENDED = "intended"
    SENT = "sent"
    COMMITTED = "committed"
    MARKED = "marked"
    FOUND = "found"
    SETTLED = "settled"
