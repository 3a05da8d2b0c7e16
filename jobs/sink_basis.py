"""What every writer of events.clean takes along to the workers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from udfs.batch_sink import BatchSink, CleanSchemas, Store, WritesNothing
from udfs.contract import Contract
from udfs.letters import LetterWriter
from udfs.patience import Patience
from udfs.reasons import Stage
from udfs.schema_store import RegistryAddress, SchemaStore

Item = TypeVar("Item")


@dataclass(frozen=True)
class SinkBasis:
    """The parts of a sink that do not depend on its store."""

    contract: Contract
    dead_letter_id: int
    registry: RegistryAddress
    topic: str
    max_bytes: int
    stall_seconds: float
    # Otherwise all is read, judged, and written nowhere.
    writes: bool = True

    def sink(
        self, stage: Stage, title: str, make: Callable[[CleanSchemas, Patience], Store[Item]]
    ) -> BatchSink[Item]:
        """Return a sink over the store that `make` makes."""
        schemas = CleanSchemas(SchemaStore(self.registry), self.contract.clean)
        store = make(schemas, Patience(title, self.stall_seconds))
        if not self.writes:
            store = WritesNothing(store)
        letters = LetterWriter(self.contract, self.dead_letter_id, stage)
        return BatchSink(store, schemas, letters, self.topic, self.max_bytes)
