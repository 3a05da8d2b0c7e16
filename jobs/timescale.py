"""Job `timescale`: events.clean -> rows of the table events, refused rows to events.dlq."""

from dataclasses import dataclass

from jobs.sink_basis import SinkBasis
from udfs.batch_sink import BatchSink, CleanSchemas
from udfs.patience import Patience
from udfs.reasons import Stage
from udfs.timescale_store import TimescaleStore
from udfs.timescale_writer import DatabaseAddress, TimescaleWriter

NAME = "timescale"


@dataclass(frozen=True)
class TimescalePlan:
    """What the writer takes along to the workers."""

    basis: SinkBasis
    database: DatabaseAddress
    # Schema and name.
    table: tuple[str, str] = ("public", "events")

    def open_sink(self) -> BatchSink[bytes]:
        """Return the sink that a worker uses."""
        return self.basis.sink(Stage.TIMESCALE, "TimescaleDB", self._store)

    def _store(self, schemas: CleanSchemas, patience: Patience) -> TimescaleStore:
        columns = tuple(str(field["name"]) for field in self.basis.contract.clean["fields"])
        return TimescaleStore(
            TimescaleWriter(self.database, columns, self.table), schemas, columns, patience
        )
