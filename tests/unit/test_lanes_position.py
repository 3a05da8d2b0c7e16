"""Whether a lane's job has read all: what it tells and what it committed, put together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from control.lanes import position
from jobs.lane import Into, Lane

LANE = Lane("replay-6", Into.LIVE, 0, 1)
SPANS = {"events.raw": {0: (100, 110), 1: (5, 5), 2: (0, 4)}}
# A marker of a transaction stands there, no message.
MARKER = (0, 109)


class Reader:
    """A topic whose messages stand at each offset but one."""

    def between(self, _topic: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[int]:
        """Yield the offsets of messages."""
        for part, (first, end) in spans.items():
            yield from (offset for offset in range(first, end) if (part, offset) != MARKER)


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Return what the lane's group has committed, to be changed."""
    found: dict[int, int] = {}

    def ask(_bootstrap: str, group: str, topic: str) -> dict[int, int]:
        assert (group, topic) == ("sluice-ingest-replay-6", "events.raw")
        return found

    @contextmanager
    def opened(_bootstrap: str) -> Iterator[Reader]:
        yield Reader()

    monkeypatch.setattr(position, "committed_offsets", ask)
    monkeypatch.setattr(position, "open_reader", opened)
    return found


def has_read(told: dict[int, int]) -> bool:
    return position.has_read("kafka", "ingest", LANE, SPANS, {"events.raw": told})


@pytest.mark.parametrize(("told", "group"), [
    ({0: 110, 2: 4}, {}),
    ({}, {0: 110, 2: 4}),
    # It had read the first one before it was restored, and tells of the other.
    ({2: 4}, {0: 110, 2: 1}),
    # Assigned, but with nothing left to read: it tells of no offset.
    ({0: 0, 2: 4}, {0: 110}),
    ({0: 109, 2: 4}, {}),
])
def test_all_is_read(
    committed: dict[int, int], told: dict[int, int], group: dict[int, int]
) -> None:
    committed |= group
    assert has_read(told)


@pytest.mark.parametrize(("told", "group"), [
    ({}, {}), ({0: 110}, {}), ({0: 108, 2: 4}, {}), ({0: 0, 2: 4}, {}), ({2: 4}, {0: 105}),
])
def test_something_is_left(
    committed: dict[int, int], told: dict[int, int], group: dict[int, int]
) -> None:
    committed |= group
    assert not has_read(told)
