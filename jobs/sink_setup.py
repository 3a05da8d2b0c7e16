"""What the set-ups of all sinks do alike."""

from collections.abc import Callable, Sequence
from typing import Any

from pyflink.datastream import StreamExecutionEnvironment

from control.settings import Settings
from jobs.driver import environment
from jobs.lane import Lane
from jobs.setup import transaction_timeout
from jobs.sink_plans import TOPIC
from jobs.sinking import SinkGraph, build_sink
from udfs.batch_sink import BatchSink

# Thread mode has no batches: nothing would be written before a checkpoint (docs/adr/0004).
_MODE = "process"
# A store that is away holds checkpoints up for as long as it likes. The writer says so; restarting
# the job would not bring the store back.
_FAILED_CHECKPOINTS = 1_000_000
# More than any rate; and in so many batches a throttled second is cut.
_FAST = 10**9
_BATCHES = 10


def prepare_sink(
    settings: Settings, jars: Sequence[str], lane: Lane, name: str, parallelism: int,
    linger_ms: int, open_sink: Callable[[], BatchSink[Any]],
) -> StreamExecutionEnvironment:
    """Return the environment that holds a whole sink."""
    # What is throttled waits inside of a batch, and checkpoints with it.
    rows = str(min(settings.sink_batch_rows, max(1, (lane.rate or _FAST) // _BATCHES)))
    env = environment(settings, jars, _MODE, parallelism, {
        "python.fn-execution.bundle.size": rows,
        "python.fn-execution.arrow.batch.size": rows,
        "python.fn-execution.bundle.time": str(linger_ms),
        "execution.checkpointing.tolerable-failed-checkpoints": str(_FAILED_CHECKPOINTS),
    })
    build_sink(env, SinkGraph(
        lane=lane,
        name=name,
        open_sink=open_sink,
        bootstrap=settings.kafka_bootstrap,
        clean_topic=TOPIC,
        letter_topic="events.dlq",
        transaction_timeout_ms=transaction_timeout(settings),
        letter_hours=settings.ingest_dedupe_hours,
    ))
    return env
