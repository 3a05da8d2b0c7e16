"""Job `search`: events.clean -> documents of the daily indices, refused ones to events.dlq."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from udfs.batch_sink import BatchSink, CleanSchemas
from udfs.contract import Contract
from udfs.documents import Document
from udfs.letters import LetterWriter
from udfs.patience import Patience
from udfs.reasons import Stage
from udfs.schema_store import RegistryAddress, SchemaStore
from udfs.search_store import SearchStore
from udfs.search_writer import SearchAddress, SearchWriter

NAME = "search"


@dataclass(frozen=True)
class SearchPlan:
    """What the writer takes along to the workers."""

    contract: Contract
    dead_letter_id: int
    registry: RegistryAddress
    search: SearchAddress
    index: Mapping[str, Any]
    keep_days: int
    topic: str
    max_bytes: int
    stall_seconds: float

    def open_sink(self) -> BatchSink[Document]:
        """Return the sink that a worker uses."""
        schemas = CleanSchemas(SchemaStore(self.registry), self.contract.clean)
        store = SearchStore(
            SearchWriter(self.search, self.index), schemas, self.keep_days,
            Patience("Elasticsearch", self.stall_seconds),
        )
        letters = LetterWriter(self.contract, self.dead_letter_id, Stage.SEARCH)
        return BatchSink(store, schemas, letters, self.topic, self.max_bytes)
