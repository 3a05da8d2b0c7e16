"""Job `search`: events.clean -> documents of the daily indices, refused ones to events.dlq."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.sink_basis import SinkBasis
from udfs.batch_sink import BatchSink, CleanSchemas
from udfs.documents import PREFIX, Document
from udfs.patience import Patience
from udfs.reasons import Stage
from udfs.search_store import SearchStore
from udfs.search_writer import SearchAddress, SearchWriter

NAME = "search"


@dataclass(frozen=True)
class SearchPlan:
    """What the writer takes along to the workers."""

    basis: SinkBasis
    search: SearchAddress
    index: Mapping[str, Any]
    keep_days: int
    # How the names of its indices begin.
    indices: str = PREFIX
    # A repair overwrites what somebody has changed, and with that its version.
    versioned: bool = True

    def open_sink(self) -> BatchSink[Document]:
        """Return the sink that a worker uses."""
        return self.basis.sink(Stage.SEARCH, "Elasticsearch", self._store)

    def _store(self, schemas: CleanSchemas, patience: Patience) -> SearchStore:
        writer = SearchWriter(self.search, self.index, self.indices)
        return SearchStore(
            writer, schemas, self.keep_days, patience, prefix=self.indices,
            versioned=self.versioned,
        )
