"""A stream graph without Java: nodes that have uids."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any


@dataclass
class Node:
    """One operator of a graph."""

    uid: str | None

    def getId(self) -> int:  # noqa: N802 - as Java has it
        """Return its number, which the fake graph does without."""
        return id(self)

    def getTransformationUID(self) -> str | None:  # noqa: N802
        """Return its uid."""
        return self.uid


class Graph:
    """A stream graph, as far as its uids go."""

    def __init__(self, *uids: str | None) -> None:
        self.nodes = [Node(uid) for uid in uids]

    @property
    def uids(self) -> list[str | None]:
        """The uids as they are now."""
        return [node.uid for node in self.nodes]

    def getStreamNodes(self) -> Any:  # noqa: N802
        """Return the nodes, in a collection of Java's."""
        return SimpleNamespace(toArray=lambda: list(self.nodes))

    def setTransformationUID(self, number: int, uid: str) -> None:  # noqa: N802
        """Change the uid of a node."""
        next(node for node in self.nodes if node.getId() == number).uid = uid
