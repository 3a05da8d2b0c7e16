"""How far a bounded job is, by the offsets that its sources tell."""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

from control.errors import SluiceError
from control.events.reader import Spans
from control.flink import FlinkAwayError, FlinkClient
from control.lifecycle.book import Clock

# ...KafkaSourceReader.topic.events_clean.partition.3.currentOffset: names of metrics are joined by
# dots, so Flink has no others in them.
_OFFSET = re.compile(r"\.topic\.(.+)\.partition\.(\d+)\.currentOffset$")
_REPLACED = re.compile(r"[ .:,]")

# By topic and partition, the offset after the last one that was read.
Positions = Mapping[str, Mapping[int, int]]


def positions(flink: FlinkClient, job: str, topics: Iterable[str]) -> Positions:
    """Return up to where a job has read each partition of these topics, as far as it tells."""
    found: dict[str, dict[int, int]] = {topic: {} for topic in topics}
    named = {_REPLACED.sub("_", topic): topic for topic in found}
    try:
        for vertex in flink.details(job).get("vertices", []):
            number = str(vertex["id"])
            names = [name for name in flink.metric_names(job, number) if _OFFSET.search(name)]
            # A partition is read by one task, and those that never had it say nothing of it.
            values = flink.vertex_metrics(job, number, names, "max") if names else {}
            for name, offset in values.items():
                parts = _OFFSET.search(name)
                topic = named.get(_REPLACED.sub("_", parts[1])) if parts else None
                if parts and topic is not None:
                    found[topic][int(parts[2])] = int(offset) + 1
    except FlinkAwayError:
        raise
    except SluiceError:
        # A task that has just been placed has no such thing yet.
        return {topic: {} for topic in found}
    return found


def how_far(found: Positions, spans: Mapping[str, Spans]) -> int:
    """Return how many messages of these spans lie before these positions."""
    return sum(
        max(0, min(found.get(topic, {}).get(part, first), end) - first)
        for topic, parts in spans.items() for part, (first, end) in parts.items()
    )


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
