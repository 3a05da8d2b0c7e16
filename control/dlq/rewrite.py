"""Write events that a store had refused into it once more.

The store takes a second copy of an event for the first, so a run that was cut off leaves nothing
to be settled: what it had not noted yet is simply written again.
"""

from collections.abc import Sequence
from typing import Any

from control.errors import SluiceError
from control.settings import Settings
from udfs.batch_sink import BatchSink
from udfs.patience import AwayError
from udfs.reasons import Stage
from udfs.schema_store import RegistryAwayError

# The stages whose letters are written straight into a store.
STORES = {Stage.TIMESCALE: "TimescaleDB", Stage.SEARCH: "Elasticsearch"}


class Rewriter:
    """Writes the payloads of letters as the job that refused them does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sinks: dict[Stage, BatchSink[Any]] = {}

    def write(self, stage: Stage, payloads: Sequence[bytes]) -> list[bool]:
        """Write events; tell of each whether the store took it."""
        try:
            sink = self._sinks.get(stage) or self._open(stage)
            return [letter is None for letter in sink.write(payloads).letters]
        except (AwayError, RegistryAwayError) as error:
            message = f"{STORES[stage]} cannot be written to: {error}"
            hint = "Run the command again when it is back: nothing is doubled."
            raise SluiceError(message, hint) from error

    def _open(self, stage: Stage) -> BatchSink[Any]:
        # Elasticsearch's client takes as long to import as all else that `sluice dlq` needs.
        from jobs.sink_plans import impatient, search_plan, timescale_plan  # noqa: PLC0415

        plan = timescale_plan if stage is Stage.TIMESCALE else search_plan
        sink = self._sinks[stage] = plan(impatient(self._settings)).open_sink()
        return sink
