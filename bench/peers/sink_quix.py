"""Quix Streams with a batching sink of its own.

python -m bench.peers.sink_quix KIND ADDRESS BOOTSTRAP TOPIC GROUP SCHEMA_FILE
"""

import sys

from quixstreams import Application
from quixstreams.sinks.base import BatchingSink, SinkBatch

from bench.peers.sink_loop import BATCH, IDLE_SECONDS
from bench.peers.stores import Meter


# Quix is not installed where mypy runs.
class Sink(BatchingSink):  # type: ignore[misc]
    """Writes what Quix has gathered for a commit."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def write(self, batch: SinkBatch) -> None:
        """Write a batch of one partition."""
        self._meter.write(item.value for item in batch)


def main(kind: str, address: str, bootstrap: str, topic: str, group: str, schema: str) -> None:
    """Write until nothing has come for a while."""
    meter = Meter(kind, address, schema)
    app = Application(
        broker_address=bootstrap, consumer_group=group, auto_offset_reset="earliest",
        commit_every=BATCH, commit_interval=1.0, auto_create_topics=False, loglevel="ERROR",
    )
    frame = app.dataframe(app.topic(topic, value_deserializer="bytes"))
    frame.sink(Sink(meter))
    app.run(timeout=IDLE_SECONDS)
    meter.report()


if __name__ == "__main__":
    main(*sys.argv[1:])
