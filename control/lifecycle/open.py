"""Put together what the commands of the control plane work with."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from control.archive.store import ArchiveStore
from control.errors import SluiceError
from control.flink import FlinkClient
from control.lanes.lanes import ServerLanes
from control.lifecycle.book import Book, WallClock
from control.lifecycle.client import FlinkClients
from control.lifecycle.deployments import Deployments
from control.lifecycle.eyes import Eyes
from control.lifecycle.ledger import Ledger
from control.lifecycle.releases import archive_store
from control.lifecycle.savepoints import Savepoints
from control.lifecycle.workplace import Workplace
from control.settings import Settings

_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0}
_LONGEST_REFRESH = 10.0
_SAVEPOINTS = "execution.checkpointing.savepoint-dir"
_REFRESH = "web.refresh-interval"
_CHECKPOINTS = "execution.checkpointing.dir"


@dataclass(frozen=True)
class Desk:
    """A workplace with what it was made from."""

    settings: Settings
    place: Workplace
    store: ArchiveStore


@contextmanager
def open_desk(settings: Settings) -> Iterator[Desk]:
    """Yield what commands that change jobs work with."""
    store = archive_store(settings)
    clock = WallClock()
    with Book(settings.timescale_dsn) as book, FlinkClient(settings.flink_url) as flink:
        told = _cluster_settings(flink)
        eyes = Eyes(flink, clock, refresh_seconds=_seconds(told.get(_REFRESH, "3000")))
        place = Workplace(
            Ledger(book), Deployments(book), Savepoints(book), eyes,
            FlinkClients(settings, store), ServerLanes(settings), clock, told.get(_SAVEPOINTS),
            told.get(_CHECKPOINTS),
        )
        try:
            yield Desk(settings, place, store)
        finally:
            place.close()


def _cluster_settings(flink: FlinkClient) -> dict[str, str]:
    try:
        return flink.cluster_settings()
    except SluiceError:
        # Those commands that need Flink say so themselves.
        return {}


def _seconds(text: str) -> float:
    """Read a duration as Flink writes it: 3000, 3000 ms, 3 s."""
    found = re.fullmatch(r"(\d+)\s*(ms|s|min)?", text.strip())
    return int(found[1]) * _UNITS[found[2] or "ms"] if found else _LONGEST_REFRESH
