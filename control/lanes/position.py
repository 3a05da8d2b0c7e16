"""How far the job of a lane has read, by what it tells and what it commits."""

from collections.abc import Mapping

from control.errors import SluiceError
from control.events.reader import Spans, open_reader
from control.kafka import committed_offsets, delete_group
from jobs.lane import Lane


def has_read(
    bootstrap: str, job: str, lane: Lane, spans: Mapping[str, Spans],
    told: Mapping[str, Mapping[int, int]],
) -> bool:
    """Tell whether a lane's job has read its spans to the end.

    Where it is it tells itself, but nothing of partitions that it had read before it was restored;
    and what it commits to its group lacks what it read last.
    """
    with open_reader(bootstrap) as reader:
        for topic, wanted in spans.items():
            done = committed_offsets(bootstrap, _group(job, lane), topic)
            now = told.get(topic, {})
            left = {part: (max(first, done.get(part, first), now.get(part, first)), end)
                    for part, (first, end) in wanted.items()}
            # What is left may be markers of transactions, which are no messages.
            if next(reader.between(topic, left), None) is not None:
                return False
    return True


def forget_position(bootstrap: str, job: str, lane: Lane) -> None:
    """Delete a lane's group. Where that fails, Kafka forgets it by itself after a week."""
    try:
        delete_group(bootstrap, _group(job, lane))
    except SluiceError:
        return


def _group(job: str, lane: Lane) -> str:
    return lane.own(f"sluice-{job}")
