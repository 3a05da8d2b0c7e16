"""Job `timescale`: events.clean -> rows of the table events, refused rows to events.dlq."""

from dataclasses import dataclass

from udfs.batch_sink import BatchSink, CleanSchemas
from udfs.contract import Contract
from udfs.letters import LetterWriter
from udfs.patience import Patience
from udfs.reasons import Stage
from udfs.schema_store import RegistryAddress, SchemaStore
from udfs.timescale_store import TimescaleStore
from udfs.timescale_writer import DatabaseAddress, TimescaleWriter

NAME = "timescale"


@dataclass(frozen=True)
class TimescalePlan:
    """What the writer takes along to the workers."""

    contract: Contract
    dead_letter_id: int
    registry: RegistryAddress
    database: DatabaseAddress
    topic: str
    max_bytes: int
    stall_seconds: float

    def open_sink(self) -> BatchSink[bytes]:
        """Return the sink that a worker uses."""
        columns = tuple(str(field["name"]) for field in self.contract.clean["fields"])
        schemas = CleanSchemas(SchemaStore(self.registry), self.contract.clean)
        store = TimescaleStore(
            TimescaleWriter(self.database, columns), schemas, columns,
            Patience("TimescaleDB", self.stall_seconds),
        )
        letters = LetterWriter(self.contract, self.dead_letter_id, Stage.TIMESCALE)
        return BatchSink(store, schemas, letters, self.topic, self.max_bytes)
