"""What a sink does with a batch: halves, patience and letters, without a store."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.clean_kit import clean_traffic
from tests.unit.event_kit import Ids, contract
from udfs.batch_sink import BatchSink, CleanSchemas
from udfs.halving import write_by_halves
from udfs.letters import LetterWriter
from udfs.patience import AwayError, Patience
from udfs.reasons import Reason, RejectedError, Stage

REFUSED = RejectedError(Reason.REFUSED, "no")


@given(st.integers(0, 300), st.sets(st.integers(0, 299), max_size=20))
def test_halving_finds_exactly_the_refused(count: int, bad: set[int]) -> None:
    written: list[int] = []

    def write(items: Sequence[int]) -> None:
        if bad & set(items):
            raise REFUSED
        written.extend(items)

    refused = write_by_halves(range(count), write)
    assert [number for number, _ in refused] == sorted(bad & set(range(count)))
    assert sorted(written) == sorted(set(range(count)) - bad)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def failing(times: int, error: Exception) -> Callable[[], str]:
    """Return a call that fails so many times before it works."""
    left = [times]

    def call() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return "done"

    return call


def _patience(limit: float = 1e9) -> tuple[Patience, Clock]:
    clock = Clock()
    return Patience("the store", limit, clock.sleep, lambda: clock.now), clock


def test_it_tries_until_it_works_and_says_so_twice(caplog: pytest.LogCaptureFixture) -> None:
    patience, clock = _patience()
    with caplog.at_level(logging.WARNING):
        assert patience.call(failing(12, AwayError("connection refused"))) == "done"
    assert patience.retries == 12
    assert len(caplog.messages) == 2
    assert "connection refused" in caplog.messages[0]
    assert "writes again" in caplog.messages[1]
    # The pauses grow, up to a limit.
    assert clock.pauses[0] < 0.2
    assert max(clock.pauses) < 15 * 1.3 + 0.01
    assert clock.pauses[-1] > 10


def test_it_waits_as_long_as_the_store_asks() -> None:
    patience, clock = _patience()
    patience.call(failing(1, AwayError("429", wait_seconds=40)))
    assert clock.pauses == [40]


def test_it_gives_up_at_the_limit() -> None:
    patience, clock = _patience(limit=60)
    with pytest.raises(AwayError):
        patience.call(failing(10_000, AwayError("gone")))
    assert 60 < clock.now < 80


def test_what_is_no_absence_is_raised_at_once() -> None:
    patience, clock = _patience()
    with pytest.raises(RejectedError):
        patience.call(failing(1, REFUSED))
    assert clock.now == 0


class FakeStore:
    """Remembers what it was given."""

    def __init__(self, refuses: Callable[[bytes], bool]) -> None:
        self.refuses = refuses
        self.batches: list[list[bytes]] = []

    def item(self, message: bytes) -> bytes:
        if message[0]:
            raise RejectedError(Reason.NOT_WIRE_FORMAT, "no")
        return message

    def write(self, items: Sequence[bytes]) -> list[tuple[int, RejectedError]]:
        self.batches.append(list(items))
        return [(number, REFUSED) for number, item in enumerate(items) if self.refuses(item)]


class Setting:
    """A sink over a fake store, and canonical messages for it."""

    def __init__(self, refuses: Callable[[bytes], bool] = lambda _: False,
                 max_bytes: int = 2**20) -> None:
        self.ids = Ids()
        known = contract()
        self.messages = clean_traffic(40, self.ids)
        letter = self.ids.register(known.dead_letter)
        self.store = FakeStore(refuses)
        self.sink = BatchSink(
            self.store, CleanSchemas(self, known.clean),  # type: ignore[arg-type]
            LetterWriter(known, letter, Stage.TIMESCALE), "events.clean", max_bytes,
        )

    def schema(self, number: int) -> Any:
        if number not in self.ids.schemas:
            raise RejectedError(Reason.UNKNOWN_SCHEMA, "no such id")
        return self.ids.schemas[number]

    def letter(self, value: bytes) -> dict[str, Any]:
        return self.ids.decode(value)[1]


def test_a_refused_message_becomes_a_letter_with_its_ids() -> None:
    bad: set[bytes] = set()
    setting = Setting(lambda item: item in bad)
    bad.add(setting.messages[7])
    done = setting.sink.write(setting.messages)
    assert done.refused == 1
    assert [place for place, letter in enumerate(done.letters) if letter] == [7]
    found = done.letters[7]
    assert found is not None
    key, value = found
    event = setting.ids.decode(setting.messages[7])[1]
    letter = setting.letter(value)
    assert key == str(event["event_id"]) == letter["event_id"]
    assert letter["payload"] == setting.messages[7]
    assert (letter["stage"], letter["reason"]) == ("timescale", "refused")
    assert (letter["retriable"], letter["attempt"]) == (True, 1)
    assert letter["source_topic"] == "events.clean"
    assert letter["correlation_id"] == str(event["correlation_id"])


def test_batches_are_bound_by_bytes_and_letters_find_their_places() -> None:
    setting = Setting(lambda item: item[-1] % 2 == 0, max_bytes=1_000)
    messages = [b"junk", *setting.messages, b"\x01"]
    done = setting.sink.write(messages)
    assert [item for batch in setting.store.batches for item in batch] == setting.messages
    for batch in setting.store.batches[:-1]:
        assert sum(map(len, batch[:-1])) < 1_000 <= sum(map(len, batch))
    for message, found in zip(messages, done.letters, strict=True):
        wanted = message[0] != 0 or message[-1] % 2 == 0
        assert (found is not None) == wanted
        if found is not None:
            assert setting.letter(found[1])["payload"] == message


def test_what_cannot_be_read_has_a_key_of_its_bytes() -> None:
    setting = Setting()
    done = setting.sink.write([b"junk", b"junk", b"other"])
    keys = [found[0] for found in done.letters if found]
    assert keys[0] == keys[1] != keys[2]
    assert setting.store.batches == []
