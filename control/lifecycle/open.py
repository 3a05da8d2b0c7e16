"""Put together what the commands of the control plane work with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from control.archive.store import ArchiveStore
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
        place = Workplace(
            Ledger(book), Deployments(book), Savepoints(book), Eyes(flink, clock),
            FlinkClients(settings, store), ServerLanes(settings), clock,
        )
        try:
            yield Desk(settings, place, store)
        finally:
            place.close()

