"""Faults on purpose: tests kill or stop a command at a point that they choose."""

import os
import signal

# `point`, or `point:n` for the n-th time it is passed; `stop-` before it stops the process
# instead of killing it, as a machine that hangs would.
_VARIABLE = "SLUICE_FAULT"
_STOP = "stop-"

_passed: dict[str, int] = {}


def fault(point: str) -> None:
    """End here, without a chance to tidy up, if a test wants it so."""
    wanted = os.environ.get(_VARIABLE, "")
    if not wanted:
        return
    name, _, count = wanted.removeprefix(_STOP).partition(":")
    if name != point:
        return
    _passed[point] = _passed.get(point, 0) + 1
    if _passed[point] == int(count or 1):
        number = signal.SIGSTOP if wanted.startswith(_STOP) else signal.SIGKILL
        os.kill(os.getpid(), number)
