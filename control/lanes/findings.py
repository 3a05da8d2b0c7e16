"""What was found where a lane wrote beside the live job, and what was exchanged."""

from dataclasses import asdict, dataclass, field
from typing import Any

from control.reconcile.findings import Kind

_NAMED = 3


@dataclass(frozen=True)
class OutputFindings:
    """One output, compared."""

    output: str
    # How many there are of the span; copies of one identity count once.
    live: int
    shadow: int
    only_live: Kind = field(default_factory=Kind)
    only_shadow: Kind = field(default_factory=Kind)
    different: Kind = field(default_factory=Kind)

    @property
    def equal(self) -> bool:
        """Whether both wrote the same."""
        return self.differing == 0

    @property
    def differing(self) -> int:
        """How many are on one side only, or not the same."""
        return self.only_live.count + self.only_shadow.count + self.different.count

    def describe(self) -> str:
        """Say how the two differ, for a person."""
        kinds = {"only live": self.only_live, "only in the shadow": self.only_shadow,
                 "different": self.different}
        said = ", ".join(
            f"{kind.count:,} {name} ({', '.join(kind.sample[:_NAMED])})"
            for name, kind in kinds.items() if kind.count
        )
        return f"{self.output}: {said} of {self.live:,}" if said else f"{self.output}: the same"

    def as_json(self) -> dict[str, Any]:
        """Return everything for a machine."""
        return {**asdict(self), "equal": self.equal}


@dataclass(frozen=True)
class SwapFindings:
    """One output, exchanged."""

    output: str
    # How many came from the shadow into the live one, and the other way.
    to_live: int
    to_shadow: int
    # Left as they were on both sides: one of them holds a copy from outside of the span.
    held_back: int
    # Whether this was the end of a swap that was cut off.
    finished: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return everything for a machine."""
        return asdict(self)
