"""Write events that a store had refused into it once more.

The store takes a second copy of an event for the first, so a run that was cut off leaves nothing
to be settled: what it had not noted yet is simply written again.
"""

from collections.abc import Sequence
from typing import Any

from control.rewriting import away_is_told, impatient
from control.settings import Settings
from udfs.batch_sink import BatchSink
from udfs.reasons import Stage

# The stages whose letters are written straight into a store.
STORES = {Stage.TIMESCALE: "TimescaleDB", Stage.SEARCH: "Elasticsearch"}


class Rewriter:
    """Writes the payloads of letters as the job that refused them does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sinks: dict[Stage, BatchSink[Any]] = {}

    def write(self, stage: Stage, payloads: Sequence[bytes]) -> list[bool]:
        """Write events; tell of each whether the store took it."""
        with away_is_told(STORES[stage]):
            sink = self._sinks.get(stage) or self._open(stage)
            return [letter is None for letter in sink.write(payloads).letters]

    def _open(self, stage: Stage) -> BatchSink[Any]:
        # Elasticsearch's client takes as long to import as all else that `sluice dlq` needs.
        from jobs.sink_plans import search_plan, timescale_plan  # noqa: PLC0415

        plan = timescale_plan if stage is Stage.TIMESCALE else search_plan
        sink = self._sinks[stage] = plan(impatient(self._settings)).open_sink()
        return sink
