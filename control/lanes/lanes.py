"""What the control plane does for runs beside the live job, apart from starting them."""

from collections.abc import Callable, Sequence
from typing import Protocol

from control.lanes.compare import OutputFindings, compare_lane
from control.lanes.outlets import make_outlets, remove_outlets
from control.settings import Settings
from jobs.lane import Lane
from jobs.spec import JobSpec


class Lanes(Protocol):
    """Makes, removes and compares what lanes write to."""

    def make(self, spec: JobSpec, lane: Lane) -> None:
        """Make what a lane writes to. Harmless when repeated."""

    def remove(self, spec: JobSpec, lane: Lane) -> None:
        """Delete what a lane wrote. Harmless when repeated."""

    def compare(
        self, spec: JobSpec, lane: Lane, first: int, end: int, say: Callable[[str], None]
    ) -> Sequence[OutputFindings]:
        """Compare what a lane and the live job made of a span, in microseconds since 1970."""


class ServerLanes:
    """Lanes on the servers that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def make(self, spec: JobSpec, lane: Lane) -> None:
        """Make what a lane writes to. Harmless when repeated."""
        make_outlets(self._settings, spec, lane)

    def remove(self, spec: JobSpec, lane: Lane) -> None:
        """Delete what a lane wrote. Harmless when repeated."""
        remove_outlets(self._settings, spec, lane)

    def compare(
        self, spec: JobSpec, lane: Lane, first: int, end: int, say: Callable[[str], None]
    ) -> Sequence[OutputFindings]:
        """Compare what a lane and the live job made of a span, in microseconds since 1970."""
        return compare_lane(self._settings, spec, lane, first, end, say)
