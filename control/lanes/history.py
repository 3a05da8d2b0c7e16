"""What Kafka still has of a span of time, and how much there is to read."""

from collections.abc import Sequence
from dataclasses import dataclass

from control.events.reader import Reader, Spans, open_reader
from control.kafka import admin_client, topic_settings


@dataclass(frozen=True)
class Stretch:
    """A span of some topics, as Kafka has it now."""

    # By topic, in each partition the first offset, and the one after the last.
    spans: dict[str, Spans]
    # From when on Kafka has all of it, in milliseconds since 1970; None: it forgot none of it.
    reaches_back: int | None = None

    @property
    def messages(self) -> int:
        """How many there are, markers of transactions included."""
        return sum(max(0, end - first) for spans in self.spans.values()
                   for first, end in spans.values())


def replayed_topics(bootstrap: str, topics: Sequence[str]) -> tuple[str, ...]:
    """Return those topics that are read by time; of reference data every run needs all."""
    with admin_client(bootstrap) as admin:
        return tuple(
            name for name in topics
            if "compact" not in topic_settings(admin, name).get("cleanup.policy", "")
        )


def look_back(bootstrap: str, topics: Sequence[str], first: int, end: int) -> Stretch:
    """Return where the messages lie that Kafka took from one time on, and before another."""
    found: dict[str, Spans] = {}
    forgotten: list[int] = []
    with open_reader(bootstrap, committed_only=False) as reader:
        for topic in topics:
            found[topic] = reader.spans(topic, first, end)
            forgotten += _first_times(reader, topic, found[topic])
    late = [time for time in forgotten if time > first]
    return Stretch(found, max(late, default=None))


def _first_times(reader: Reader, topic: str, wanted: Spans) -> list[int]:
    """Return when Kafka took the first message it has, where it has forgotten some before it."""
    cut = {part: span for part, span in reader.spans(topic).items()
           # What begins later in the partition has a message before it that is too old.
           if 0 < span[0] == wanted[part][0]}
    left = {part for part, (first, end) in cut.items() if end > first}
    times: list[int] = []
    for record in reader.between(topic, {part: cut[part] for part in left}):
        if record.partition in left:
            left.discard(record.partition)
            times.append(record.timestamp)
        if not left:
            break
    return times
