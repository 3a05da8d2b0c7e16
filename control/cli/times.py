"""An option that takes a time: 90s, 30m, 6h or 14d."""

import re
from datetime import timedelta

import click

from control.cli.output import duration

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
# What `never` is taken for: no time is as short.
NEVER = timedelta(0)


class Time(click.ParamType[timedelta]):
    """A span of time that a person writes with its unit."""

    name = "time"

    def __init__(self, least: timedelta, *, may_be_never: bool = False) -> None:
        self._least = least
        self._may_be_never = may_be_never

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it, or say what is wrong with it."""
        if isinstance(value, timedelta):
            return value
        text = str(value).strip()
        if text == "never" and self._may_be_never:
            return NEVER
        found = re.fullmatch(r"(\d{1,8})([smhd])", text)
        if found is None:
            self.fail(f"{text} is no time; for example 90s, 30m, 6h or 14d.", param, ctx)
        time = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
        if time < self._least:
            least = duration(self._least.total_seconds())
            self.fail(f"{text} is too short; at least {least}.", param, ctx)
        return time
