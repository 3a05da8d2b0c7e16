"""Exchanging indices with a shadow, cut off where it is noted: a second try ends it, no more."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from control.database import Connection
from control.errors import SluiceError
from control.lanes import swap, swap_indices
from control.lanes.findings import SwapFindings
from control.lanes.swap import swap_lane, swaps_cut_off
from control.settings import load_settings
from jobs.catalogue import find_job
from jobs.lane import Into, Lane
from jobs.spec import JobSpec
from tests.kit.fake_search import FakeSearch

SHADOW = Lane("try", Into.SHADOW)
LIVE_DAY, SHADOW_DAY = "events-1970.01.01", "shadow-try-events-1970.01.01"


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> FakeSearch:
    """Return indices of which the live ones and the shadow differ in two documents."""

    @contextmanager
    def connected(_dsn: SecretStr) -> Iterator[Any]:
        yield None

    monkeypatch.setattr(swap, "connect", connected)
    made = FakeSearch(monkeypatch)
    for number in range(4):
        content = {"event_id": f"{number}", "cleaned_at": f"1970-01-01T00:00:0{number}.000000Z"}
        made.put(LIVE_DAY, f"{number}", {**content, "by": "old" if number > 1 else "both"})
        made.put(SHADOW_DAY, f"{number}", {**content, "by": "new" if number > 1 else "both"})
    return made


def spec() -> JobSpec:
    found = find_job("search")
    assert found is not None
    return found


def swapped(note: swap.Note = lambda _, __: None) -> list[SwapFindings]:
    return swap_lane(load_settings(), spec(), SHADOW, 0, 60_000_000, lambda _: None, note)


def by(search: FakeSearch, index: str) -> list[str]:
    return [str(source["by"]) for _, source in sorted(search.there(index).items())]


def test_it_is_exchanged_and_exchanged_back(search: FakeSearch) -> None:
    assert swapped() == [SwapFindings("index events", 2, 2, 0)]
    assert by(search, LIVE_DAY) == ["both", "both", "new", "new"]
    assert by(search, SHADOW_DAY) == ["both", "both", "old", "old"]
    swapped()
    assert by(search, LIVE_DAY) == ["both", "both", "old", "old"]


def test_one_that_could_not_be_noted_is_finished_and_not_taken_back(search: FakeSearch) -> None:
    noted: list[SwapFindings] = []

    def note(_: Connection, found: SwapFindings) -> None:
        if not noted:
            noted.append(found)
            message = "the database is away"
            raise SluiceError(message)
        noted.append(found)

    with pytest.raises(SluiceError, match="away"):
        swapped(note)
    assert swaps_cut_off(load_settings(), spec(), SHADOW) == ["index events"]
    # The message says: run the same command again.
    assert swapped(note) == [SwapFindings("index events", 2, 2, 0, finished=True)]
    assert by(search, LIVE_DAY) == ["both", "both", "new", "new"]
    assert noted == [SwapFindings("index events", 2, 2, 0),
                     SwapFindings("index events", 2, 2, 0, finished=True)]
    assert swaps_cut_off(load_settings(), spec(), SHADOW) == []


def test_what_cannot_be_looked_up_is_not_moved(
    search: FakeSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    search.put(LIVE_DAY, "8", {"event_id": "8", "cleaned_at": "1970-01-01T00:00:08.000000Z",
                               "by": "alone"})
    before = search.there("events-")
    error = {"type": "no_shard_available_action_exception", "reason": "shard is not there"}

    def ask(method: str, url: SecretStr, path: str, body: Any = None) -> dict[str, Any]:
        if path.startswith("/_mget"):
            return {"docs": [{**one, "error": error} for one in body["docs"]]}
        return search.ask(method, url, path, body)

    monkeypatch.setattr(swap_indices, "ask", ask)
    with pytest.raises(SluiceError, match=r"cannot read 8 in .*shard is not there"):
        swapped()
    assert search.there("events-") == before
