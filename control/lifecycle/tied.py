"""Become another program that dies with the command that started it: run as a file, not imported.

A client that outlives its command would start a job that nobody expects any more. The kernel means
the thread that starts us: commands do it in their main thread.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the program of the other arguments."""
    parent, *program = sys.argv[1:]
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit("the kernel does not tie processes together")
    # It may have died before we were tied.
    if os.getppid() != int(parent):
        sys.exit("the command that wanted this is gone")
    os.execv(program[0], program)  # noqa: S606 - a list, and no shell


if __name__ == "__main__":
    main()
