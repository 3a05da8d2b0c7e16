"""Bytewax with a batching sink of its own: python -m bytewax.run bench.peers.sink_bytewax:flow.

Its settings come from the environment, as Bytewax imports the flow by its name.
"""

import atexit
import os
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from bench.peers.sink_loop import BATCH
from bench.peers.stores import Meter


# Bytewax is not installed where mypy runs.
class Partition(StatelessSinkPartition[Any]):  # type: ignore[misc]
    """A worker's share of the sink."""

    def __init__(self) -> None:
        self._meter = Meter(
            os.environ["KIND"], os.environ["ADDRESS"], os.environ["SCHEMA_FILE"]
        )
        atexit.register(self._meter.report)

    def write_batch(self, items: list[Any]) -> None:
        """Write what one poll has brought."""
        self._meter.write(item.value for item in items)


class Sink(DynamicSink[Any]):  # type: ignore[misc]
    """A connection for each worker."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Partition:
        """Return a worker's share."""
        return Partition()


flow = Dataflow("sink")
source = kop.input(
    "in", flow, brokers=[os.environ["BOOTSTRAP"]], topics=[os.environ["TOPIC"]], tail=False,
    batch_size=BATCH,
)
op.output("out", source.oks, Sink())
