"""Where a run of a job reads and writes: as the live job, or in a lane of its own beside it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Into(StrEnum):
    """Where a run writes."""

    LIVE = "live"
    # Topics, tables and indices of its own, of the same shape.
    SHADOW = "shadow"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Lane:
    """A run's place beside the live job; without a name it is the live job itself."""

    name: str = ""
    into: Into = Into.LIVE
    # Only what Kafka took from then on, and before that, in milliseconds since 1970.
    first: int | None = None
    end: int | None = None
    # Messages a second that it reads at most, over all of its tasks.
    rate: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether this is the live job itself."""
        return not self.name

    @property
    def is_bounded(self) -> bool:
        """Whether it ends by itself, after a span of history."""
        return self.end is not None

    def own(self, name: str) -> str:
        """Return a job's, a group's or a transaction's name in this lane: nobody else has it."""
        return name if self.is_live else f"{name}-{self.name}"

    def topic(self, name: str) -> str:
        """Return the topic to write to."""
        return f"{name}.{self.name}" if self.into is Into.SHADOW else name

    def table(self, name: str) -> tuple[str, str]:
        """Return the schema and the name of the table to write to."""
        if self.into is Into.SHADOW:
            return "shadow", f"{name}_{self.name.replace('-', '_')}"
        return "public", name

    def indices(self, name: str) -> str:
        """Return how the names of the indices to write to begin; live templates do not fit."""
        return f"shadow-{self.name}-{name}-" if self.into is Into.SHADOW else f"{name}-"

    def as_json(self) -> dict[str, Any]:
        """Return the lane as it is kept."""
        return asdict(self)


LIVE = Lane()


def lane_from_json(content: Mapping[str, Any]) -> Lane:
    """Read a lane that was kept."""
    return Lane(**{**content, "into": Into(content["into"])})
