"""What Flink makes of a job: its operators, and whether a savepoint's state finds its place."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Operator:
    """An operator of a job's graph."""

    # Flink finds state by this.
    id: str
    uid: str | None
    name: str
    # The task that it runs in, with others.
    vertex: str
    parallelism: int
    max_parallelism: int
    # The ids of those that feed it; older versions of a job do not tell.
    inputs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """How it is called in messages."""
        return self.uid or self.name


@dataclass(frozen=True)
class Graph:
    """A job as Flink would run it."""

    mode: str
    operators: tuple[Operator, ...]

    def find(self, operator: str) -> Operator | None:
        """Return an operator by its id."""
        return next((one for one in self.operators if one.id == operator), None)

    def as_json(self) -> dict[str, Any]:
        """Return the graph as it is kept."""
        return asdict(self)


def graph_from_json(content: Mapping[str, Any]) -> Graph:
    """Read a graph that a driver has described, or that was kept."""
    names = Operator.__dataclass_fields__
    return Graph(str(content["mode"]), tuple(
        Operator(**{**{name: one.get(name) for name in names},
                    "inputs": tuple(one.get("inputs") or ())}) for one in content["operators"]
    ))
