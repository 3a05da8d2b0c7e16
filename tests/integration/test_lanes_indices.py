"""What a shadow wrote into indices, compared and exchanged, with kills in between."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from secrets import randbelow, token_hex
from typing import Any

import pytest

from control.errors import RefusedError, SluiceError
from control.lanes import index_pages, swap_indices
from control.lanes.compare import OutputFindings, compare_lane
from control.lanes.outlets import remove_outlets
from control.lanes.swap import SwapFindings, swap_lane
from control.lanes.swap_indices import IndexSwap
from control.search import ask
from jobs.lane import Lane
from jobs.spec import OutputKind
from tests.integration.lanes_kit import Documents, cleaned, job, micros, shadow, silent
from tests.kit.sinks import Clean, CleanMaker
from tests.kit.stack import TestStack

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
# Without its letters, which are a topic's matter.
SPEC = replace(job("search"), writes=tuple(
    one for one in job("search").writes if one.kind is OutputKind.INDEX
))


class Lanes:
    """A lane of a test's own, and a span that no other test writes into."""

    def __init__(self, stack: TestStack, maker: CleanMaker) -> None:
        self.settings = stack.settings()
        self.lane: Lane = shadow(f"try-{token_hex(3)}")
        self.first = datetime.fromisoformat("2000-01-01T00:00Z") + randbelow(100_000) * HOUR
        self.end = self.first + HOUR
        self.maker = maker
        self.documents = Documents(stack, self.lane)
        self._seed = 910_000 + randbelow(80_000)

    def records(self, count: int) -> list[Clean]:
        """Return events that were cleaned in the span."""
        self._seed += 1
        return cleaned(self.maker, self.maker.make(count, self._seed), self.first)

    def compare(self) -> OutputFindings:
        """Return what differs."""
        (found,) = compare_lane(
            self.settings, SPEC, self.lane, micros(self.first), micros(self.end), silent
        )
        return found

    def swap(self, more: timedelta = timedelta(0)) -> SwapFindings:
        """Exchange the span."""
        (found,) = swap_lane(
            self.settings, SPEC, self.lane, micros(self.first), micros(self.end + more), silent
        )
        return found


@pytest.fixture(scope="module")
def maker(stack: TestStack) -> CleanMaker:
    stack.ok("search", "maintain")
    return CleanMaker(stack)


@pytest.fixture
def lanes(stack: TestStack, maker: CleanMaker) -> Iterator[Lanes]:
    made = Lanes(stack, maker)
    yield made
    ask("DELETE", made.settings.elasticsearch_url, f"/shadow-{made.lane.name}-events-swap")
    remove_outlets(made.settings, SPEC, made.lane)


def counts(found: OutputFindings) -> tuple[int, int, int]:
    return found.only_live.count, found.only_shadow.count, found.different.count


def ids(records: list[Clean]) -> list[str]:
    return sorted(record.id for record in records)


def test_each_kind_of_difference_is_found(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several pages, the last of which is full.
    monkeypatch.setattr(index_pages, "_PAGE", 25)
    made = lanes.records(100)
    assert (lanes.compare().equal, lanes.compare().live) == (True, 0)
    lanes.documents.write(made[:50], made[:50])
    found = lanes.compare()
    assert (found.equal, found.live, found.shadow) == (True, 50, 50)
    changed = [lanes.maker.changed(record, text="other") for record in made[90:]]
    outside = [*cleaned(lanes.maker, lanes.maker.make(2, 990_001), lanes.end),
               *cleaned(lanes.maker, lanes.maker.make(2, 990_002), lanes.first - SECOND)]
    lanes.documents.write(made[50:70] + made[90:] + outside[:2], made[70:90] + changed)
    lanes.documents.write(outside[2:], [])
    found = lanes.compare()
    assert (found.live, found.shadow) == (80, 80)
    assert counts(found) == (20, 20, 10)
    assert found.only_live.sample == ids(made[50:70])[:10]
    assert found.only_shadow.sample == ids(made[70:90])[:10]
    assert found.different.sample == ids(made[90:])


def prepared(lanes: Lanes, count: int = 60) -> list[Clean]:
    """Write what differs in each way that is exchanged, and some that is the same."""
    made = lanes.records(count)
    third, half, most = count // 3, count // 2, count * 5 // 6
    changed = [
        # The shadow's is a little newer, or a little older.
        lanes.maker.changed(record, text="of the shadow", cleaned_at=(
            record.fields["cleaned_at"] + timedelta(microseconds=number % 3 - 1)
        )) for number, record in enumerate(made[most:], 1)
    ]
    lanes.documents.write(made[:half] + made[most:], made[third:most] + changed)
    return made


def test_what_is_exchanged_is_exchanged_back(lanes: Lanes) -> None:
    made = prepared(lanes)
    before = lanes.documents.state(made)
    assert lanes.swap() == SwapFindings("index events", 30, 30, 0)
    assert lanes.documents.state(made) == (before[1], before[0])
    # At once: Elasticsearch still knows the versions of what was deleted.
    assert lanes.swap() == SwapFindings("index events", 30, 30, 0)
    assert lanes.documents.state(made) == before
    template = ask("GET", lanes.settings.elasticsearch_url, f"/shadow-{lanes.lane.name}-*")
    assert template
    for index in template.values():
        assert index["mappings"]["dynamic"] == "strict"
        assert index["aliases"] == {}


def test_a_shadow_that_never_wrote_takes_all(lanes: Lanes) -> None:
    made = lanes.records(10)
    lanes.documents.write(made, [])
    before = lanes.documents.state(made)
    assert lanes.swap() == SwapFindings("index events", 0, 10, 0)
    assert lanes.documents.state(made) == (before[1], before[0])
    for index in ask("GET", lanes.settings.elasticsearch_url, f"/shadow-{lanes.lane.name}-*"
                     ).values():
        assert index["mappings"]["dynamic"] == "strict"
        assert index["aliases"] == {}
    lanes.swap()
    assert lanes.documents.state(made) == before


def test_a_copy_from_outside_of_the_span_stays(lanes: Lanes) -> None:
    made = lanes.records(40)
    newer = cleaned(lanes.maker, made[:10], lanes.end)
    older = cleaned(lanes.maker, made[10:20], lanes.first - SECOND)
    side_newer = cleaned(lanes.maker, made[20:30], lanes.end)
    side_older = cleaned(lanes.maker, made[30:], lanes.first - SECOND)
    lanes.documents.write(newer + older + made[20:], made[:20] + side_newer + side_older)
    before = lanes.documents.state(made)
    assert lanes.swap() == SwapFindings("index events", 0, 0, 40)
    assert lanes.documents.state(made) == before


def test_a_writer_meanwhile_loses_nothing(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap_indices, "_BATCH", 20)
    made = prepared(lanes, 240)
    newer = [lanes.maker.changed(record, text="newer")
             for record in cleaned(lanes.maker, made[::4], lanes.end)]
    errors: list[BaseException] = []
    begun, stop = threading.Event(), threading.Event()

    def write() -> None:
        try:
            for number in range(0, len(newer), 4):
                lanes.documents.write(newer[number:number + 4], [])
                begun.set()
        except BaseException as error:
            errors.append(error)
            raise
        finally:
            stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait(60)
    swaps = 0
    while not stop.is_set() or swaps < 2:
        lanes.swap()
        swaps += 1
    thread.join()
    assert errors == []
    live, side = lanes.documents.state(made)
    for record in newer:
        assert live[record.id]["text"] == "newer"
    for record in made:
        assert record.id in live or record.id in side
    assert not [one for one in side.values() if one.get("text") == "newer"]


def test_what_is_newer_before_it_moves_stays_with_its_twin(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lanes.records(30)
    changed = [lanes.maker.changed(record, text="of the shadow") for record in made[20:]]
    lanes.documents.write(made[:10] + made[20:], made[10:20] + changed)
    before = lanes.documents.state(made)
    # Of each kind two: alone in the live index, alone in the shadow, different.
    late = [*made[:2], *made[10:12], *made[20:22]]
    newer = cleaned(lanes.maker, late, lanes.end)
    carry_out = IndexSwap._carry_out

    def interrupted(swap: IndexSwap) -> tuple[int, int, int]:
        lanes.documents.write(newer, [])
        return carry_out(swap)

    monkeypatch.setattr(IndexSwap, "_carry_out", interrupted)
    assert lanes.swap() == SwapFindings("index events", 16, 16, 6)
    live, side = lanes.documents.state(made)
    written = lanes.documents.state(newer)[0]
    for record in made:
        if record in late:
            assert live[record.id] == written[record.id] != before[0].get(record.id)
            assert side.get(record.id) == before[1].get(record.id)
        else:
            assert live.get(record.id) == before[1].get(record.id)
            assert side.get(record.id) == before[0].get(record.id)


class KilledError(Exception):
    """What stands for a kill."""


class Killer:
    """Lets so many requests through, and none after them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        for module, name in (
            (swap_indices, "ask"), (swap_indices, "write_bulk"), (index_pages, "ask"),
        ):
            monkeypatch.setattr(module, name, self._counted(getattr(module, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            if self.left is not None:
                if self.left == 0:
                    raise KilledError
                self.left -= 1
            return call(*arguments)

        return counted


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_any_request_it_is_finished(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(swap_indices, "_BATCH", 10)
    killer = Killer(monkeypatch)
    made = prepared(lanes, 30)
    state = lanes.documents.state(made)
    assert state[0] != state[1]
    kills = finished = 0
    while True:
        killer.left = kills
        try:
            lanes.swap()
        except KilledError:
            killer.left = None
        else:
            break
        everything = [*lanes.documents.state(made)]
        plan = ask("GET", lanes.settings.elasticsearch_url,
                   f"/shadow-{lanes.lane.name}-events-swap/_mapping")
        cut_off = any("_meta" in one["mappings"] for one in plan.values())
        assert cut_off or everything == [*state]
        if cut_off:
            # Neither another span nor the end of the lane comes between.
            with pytest.raises(RefusedError, match="was cut off"):
                lanes.swap(SECOND)
            with pytest.raises(RefusedError, match="was cut off"):
                remove_outlets(lanes.settings, SPEC, lanes.lane)
        found = lanes.swap()
        assert found.finished == cut_off
        finished += cut_off
        state = state[1], state[0]
        assert lanes.documents.state(made) == state
        kills += step
    assert kills > 20
    assert finished * step > 8
    assert lanes.documents.state(made) == (state[1], state[0])


def test_what_the_store_refuses_is_told(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lanes.records(3)
    lanes.documents.write([], made)
    (name,) = {f"{lanes.lane.indices('events')}{record.fields['occurred_at']:%Y.%m.%d}"
               for record in made[:1]}
    ask("PUT", lanes.settings.elasticsearch_url, f"/{name}/_settings",
        {"index.blocks.write": True})
    with pytest.raises(SluiceError, match="Elasticsearch refuses") as refused:
        lanes.swap()
    assert "again" in refused.value.hint
    ask("PUT", lanes.settings.elasticsearch_url, f"/{name}/_settings",
        {"index.blocks.write": False})
    assert lanes.swap().finished
    live, side = lanes.documents.state(made)
    assert (len(live), len(side)) == (3, 0)
