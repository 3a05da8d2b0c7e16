"""How the control tool and Flink's client talk: an order, the graph, and the word to start.

The driver in an old archive reads what today's tool writes: fields are added, never changed.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_ORDER, _GRAPH, _GO, _DONE = "order.json", "graph.json", "go.json", "done.json"


@dataclass(frozen=True)
class Order:
    """What is to be built."""

    job: str
    folder: Path
    # Addresses of connectors.
    jars: tuple[str, ...]
    # The id that the job will have in Flink.
    flink_job: str
    # Settings of ours, and of Flink's, that differ for this job.
    settings: Mapping[str, Any]
    flink: Mapping[str, str]
    # What Flink's own pages show of it.
    tells: Mapping[str, str]
    # The lane that it runs in; none: it is the live job.
    lane: Mapping[str, Any] | None = None

    def write(self) -> Path:
        """Write the order; return its file."""
        return _write(self.folder, _ORDER, {**asdict(self), "folder": str(self.folder)})

    @classmethod
    def read(cls, file: Path) -> "Order":
        """Read an order; what a newer tool adds is passed over."""
        content = json.loads(file.read_text(encoding="utf-8"))
        known = {name: content[name] for name in cls.__dataclass_fields__ if name in content}
        return cls(**{**known, "folder": Path(known["folder"]), "jars": tuple(known["jars"])})


@dataclass(frozen=True)
class Go:
    """The word to start, and from what state."""

    savepoint: str | None = None
    # Whether state that the new graph has no place for may be given up.
    allow_dropped: bool = False


def write_graph(folder: Path, graph: Mapping[str, Any]) -> None:
    """Say that the job is built, and what it looks like."""
    _write(folder, _GRAPH, graph)


def read_graph(folder: Path) -> dict[str, Any] | None:
    """Return the graph, once it is there."""
    return _read(folder, _GRAPH)


def write_go(folder: Path, go: Go) -> None:
    """Give the word."""
    _write(folder, _GO, asdict(go))


def read_go(folder: Path) -> Go | None:
    """Return the word, once it is given."""
    content = _read(folder, _GO)
    return None if content is None else Go(content["savepoint"], content["allow_dropped"])


def write_done(folder: Path) -> None:
    """Say that Flink has the job."""
    _write(folder, _DONE, {})


def is_done(folder: Path) -> bool:
    """Tell whether Flink has the job; the driver of an old archive only ends."""
    return _read(folder, _DONE) is not None


def _write(folder: Path, name: str, content: Mapping[str, Any]) -> Path:
    # Half a file must never be read.
    draft = folder / f".{name}.{os.getpid()}"
    draft.write_text(json.dumps(content), encoding="utf-8")
    return draft.replace(folder / name)


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
