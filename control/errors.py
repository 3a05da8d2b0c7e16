"""Errors that speak to a person, and the exit codes that go with them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a `sluice` command's exit code means."""

    DONE = 0
    FAILED = 1
    MISUSED = 2
    REFUSED = 3
    TIMED_OUT = 4


class SluiceError(Exception):
    """A failure with a message for the person and a hint for what to do."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class MisuseError(SluiceError):
    """The command or a setting was given in a way that makes no sense."""

    exit_code = ExitCode.MISUSED


class RefusedError(SluiceError):
    """A check said no before anything was touched."""

    exit_code = ExitCode.REFUSED


class TimedOutError(SluiceError):
    """Something did not happen within its time."""

    exit_code = ExitCode.TIMED_OUT
