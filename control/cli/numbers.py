"""Numbers that an option takes."""

from math import isfinite
from typing import Any

import click


class Finite(click.FloatRange):
    """A range without `nan`, which click lets pass, and without infinities."""

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Return the number, or say why it is none."""
        number = float(super().convert(value, param, context))
        if not isfinite(number):
            self.fail(f"{number} is not a number to work with.", param, context)
        return number


POSITIVE = Finite(min=0, min_open=True)
SHARE = Finite(min=0, max=1)
