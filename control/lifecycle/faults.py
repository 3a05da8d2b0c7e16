"""A switch that kills the command at a chosen moment: how the tests know that resuming works."""

import os
import signal
from collections.abc import Callable

# For example: SLUICE_FAULT=suspend-acted. Read only here.
VARIABLE = "SLUICE_FAULT"

Fault = Callable[[str], None]


def fault_from_environment() -> Fault:
    """Return what kills this process -9 when it reaches the moment that the variable names."""
    wanted = os.environ.get(VARIABLE, "")

    def reach(moment: str) -> None:
        if moment == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach
