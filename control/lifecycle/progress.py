"""How far a bounded job is, by the offsets that its sources tell."""

import re
from collections.abc import Mapping
from datetime import timedelta

from control.errors import SluiceError
from control.events.reader import Spans
from control.flink import FlinkAwayError, FlinkClient
from control.lifecycle.book import Clock

# ...KafkaSourceReader.topic.events_clean.partition.3.currentOffset: names of metrics are joined by
# dots, so Flink has no others in them.
_OFFSET = re.compile(r"\.topic\.(.+)\.partition\.(\d+)\.currentOffset$")
_REPLACED = re.compile(r"[ .:,]")


def how_far(flink: FlinkClient, job: str, spans: Mapping[str, Spans]) -> int:
    """Return how many messages of these spans a job has read, as far as it tells."""
    read = 0
    named = {_REPLACED.sub("_", topic): found for topic, found in spans.items()}
    try:
        vertices = flink.details(job).get("vertices", [])
        for vertex in vertices:
            number = str(vertex["id"])
            names = [name for name in flink.metric_names(job, number) if _OFFSET.search(name)]
            # A partition is read by one task, and those that never had it say nothing of it.
            found = flink.vertex_metrics(job, number, names, "max") if names else {}
            read += sum(_part(name, offset, named) for name, offset in found.items())
    except FlinkAwayError:
        raise
    except SluiceError:
        # A task that has just been placed has no such thing yet.
        return 0
    return read


def _part(name: str, offset: float, spans: Mapping[str, Spans]) -> int:
    found = _OFFSET.search(name)
    if found is None:
        return 0
    first, end = spans.get(_REPLACED.sub("_", found[1]), {}).get(int(found[2]), (0, 0))
    return max(0, min(int(offset) + 1, end) - first)


class Progress:
    """Says how far something is, how fast, and how long it will take."""

    def __init__(self, messages: int, clock: Clock) -> None:
        self._messages = messages
        self._clock = clock
        self._begun: tuple[float, int] | None = None
        self._read = 0

    def words(self, read: int) -> str:
        """Return a line for a person."""
        # A task that has finished tells nothing any more.
        self._read = max(self._read, read)
        now = self._clock.now()
        if self._begun is None and self._read:
            self._begun = now, self._read
        text = f"{self._read:,} of about {self._messages:,} messages"
        if self._begun is None or now - self._begun[0] < 1:
            return text
        rate = (self._read - self._begun[1]) / (now - self._begun[0])
        left = max(0, self._messages - self._read)
        if rate > 0 and left:
            text += f", {rate:,.0f} a second, {timedelta(seconds=round(left / rate))} left"
        return text
