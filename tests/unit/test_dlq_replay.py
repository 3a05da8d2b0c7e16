"""Each letter is sent once, wherever a replay dies, and however often it is run again."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.dlq import replay, settle
from control.dlq.fault import Point
from control.dlq.letter import LetterId, State
from control.dlq.plan import Plan, plan_by_wish
from control.dlq.replay import Outcome, Replay
from control.dlq.settle import Settled, Settlement
from control.dlq.source import Letters
from control.dlq.verdict import DiscardRules, ReplayRules, Rules, Verdict
from control.dlq.wish import Wish
from control.errors import SluiceError
from control.events.decoding import Decoding
from control.events.interruption import Interruption
from control.events.pace import Pace
from tests.unit.dlq_kit import (
    HELD,
    CrashError,
    MemoryBook,
    MemoryRewriter,
    MemorySender,
    Topics,
    Writer,
    letter,
    letters_in,
    written,
)
from udfs.reasons import Stage
from udfs.wire import frame

RULES = ReplayRules(force=False, max_bytes=10_000)
POINTS = [Point.INTENDED, Point.SENT, Point.COMMITTED, Point.MARKED, Point.FOUND]


class World:
    """A topic of letters, events.raw, and a database, which outlive every process."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.topics = Topics({"events.dlq": 3, "events.raw": 2})
        for number in range(count):
            # A transaction's marker now and then, as ingest leaves them.
            if number % 5 == 4:
                self.topics.add("events.dlq", number % 3, None)
            self.topics.add(
                "events.dlq", number % 3, written(b"%d" % number, tenant=f"t{number % 4}"), number
            )
        self.book = MemoryBook()
        self.sender = MemorySender(self.topics)
        self.rewriter = MemoryRewriter()
        self.letters: Letters
        self.decoding: Decoding
        self.letters, self.decoding = letters_in(self.topics)
        self.wish = Interruption()
        self.crash: tuple[Point, int] | None = None
        self._passed: Counter[Point] = Counter()
        monkeypatch.setattr(replay, "fault", self._fault)
        monkeypatch.setattr(settle, "fault", self._fault)
        monkeypatch.setattr(replay, "_BATCH_LETTERS", 4)

    def run(
        self, crash: tuple[Point, int] | None = None, rules: Rules = RULES, wish: Wish | None = None
    ) -> tuple[Settled, Outcome]:
        """Run a replay of everything open, as the command does."""
        self.crash = crash
        self._passed.clear()
        self.sender.take_over()
        settled = self.settle()
        plan = plan_by_wish(self.letters, self.book, wish or Wish(state=State.OPEN), rules)
        outcome = Replay(
            self.book, self.letters, self.sender, Writer(), self.rewriter, HELD, rules, self.wish
        ).run(plan, None, lambda _: None)
        return settled, outcome

    def settle(self) -> Settled:
        return Settlement(
            self.book, HELD, self.topics, self.decoding, (frame(2, b""),)
        ).settle(self.sender)

    def landed(self) -> Counter[tuple[str, int]]:
        """Count what is committed on events.raw, by letter and attempt."""
        found: Counter[tuple[str, int]] = Counter()
        for log in self.topics.logs["events.raw"]:
            for record in log:
                if record is not None:
                    fields = self.decoding.decode(record.value).fields or {}
                    found[fields["letter"], fields["attempt"]] += 1
        return found

    def _fault(self, point: Point) -> None:
        self._passed[point] += 1
        if self.crash == (point, self._passed[point]):
            raise CrashError


def once(world: World, count: int) -> bool:
    found = world.landed()
    return len(found) == count and set(found.values()) == {1}


def test_all_letters_are_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(10, monkeypatch)
    _, outcome = world.run()
    assert (outcome.sent, outcome.gone, outcome.interrupted) == (10, 0, False)
    assert once(world, 10)
    assert {attempt for _, attempt in world.landed()} == {2}
    _, again = world.run()
    assert again.sent == 0
    assert once(world, 10)


@pytest.mark.parametrize("point", [point for point in POINTS if point is not Point.FOUND])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_run_that_dies_anywhere_is_finished_by_the_next(
    monkeypatch: pytest.MonkeyPatch, point: Point, batch: int
) -> None:
    world = World(10, monkeypatch)
    with pytest.raises(CrashError):
        world.run((point, batch))
    settled, outcome = world.run()
    assert once(world, 10)
    assert settled.lost == 0
    if point is Point.MARKED:
        assert settled.count == 0
    else:
        assert bool(settled.replayed) == (point is Point.COMMITTED)
        assert bool(settled.reopened) == (point is not Point.COMMITTED)
    assert len(world.book.rows) == 10
    assert outcome.sent + len(world.book.rows) >= 10


@given(st.lists(st.tuples(st.sampled_from(POINTS), st.integers(1, 4)), max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_series_of_deaths_leaves_each_letter_once(deaths: list[tuple[Point, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = World(13, patch)
        for death in deaths:
            try:
                world.run(death)
            except CrashError:
                # While nobody has settled it, nothing is called open that may have been sent.
                sent = {LetterId(*map(int, name.split(":"))) for name, _ in world.landed()}
                states = world.book.states(list(world.letters.in_any_order(Wish())))
                assert all(states[one] is not State.OPEN for one in sent)
        world.run()
        assert once(world, 13)


def test_a_batch_whose_traces_are_gone_is_lost_and_left_alone(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(4, monkeypatch)
    with pytest.raises(CrashError):
        world.run((Point.COMMITTED, 1))
    for number in range(2):
        world.topics.gone["events.raw", number] = 1
    settled, outcome = world.run()
    assert settled.lost > 0
    assert settled.lost + settled.replayed == 4
    assert outcome.sent == 0
    # Only who takes the risk sends them.
    _, forced = world.run(rules=ReplayRules(force=True, max_bytes=10_000), wish=Wish(
        state=State.UNKNOWN
    ))
    assert forced.sent == settled.lost


def test_replays_of_others_settle_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3, monkeypatch)
    with pytest.raises(CrashError):
        world.run((Point.INTENDED, 1))
    first = letter(0)
    # Another attempt of the same letter, one that names no letter, and a broken one.
    for value in (
        Writer().write(letter(0, attempt=7), b"x"),
        Writer().write(letter(0), b"x").replace(b"\x060:0", b"\x06abc"), frame(2, b"\x02"), b"",
    ):
        world.topics.add("events.raw", 0, value)
    assert world.settle() == Settled(replayed=0, reopened=3, lost=0)
    assert world.book.states([first])[first.id] is State.OPEN


def test_a_wish_to_stop_ends_between_two_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(10, monkeypatch)
    commit = world.sender.commit

    def stop() -> None:
        world.wish.asked = True
        commit()

    monkeypatch.setattr(world.sender, "commit", stop)
    _, outcome = world.run()
    assert (outcome.sent, outcome.interrupted) == (4, True)
    assert once(world, 4)
    world.wish.asked = False
    monkeypatch.setattr(world.sender, "commit", commit)
    world.run()
    assert once(world, 10)


def test_an_error_on_the_way_speaks_to_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(10, monkeypatch)

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.sender, "commit", interrupted)
    with pytest.raises(SluiceError, match="Cut off after 0 letters: KeyboardInterrupt") as error:
        world.run()
    assert "nothing twice" in error.value.hint


def test_what_changed_since_the_plan_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(6, monkeypatch)
    plan = plan_by_wish(world.letters, world.book, Wish(), RULES)
    found = list(world.letters.in_any_order(Wish()))
    world.book.rows[found[0].id] = "discarded", "x", 0
    world.topics.gone["events.dlq", 2] = 99
    run = Replay(
        world.book, world.letters, world.sender, Writer(), world.rewriter, HELD, RULES, world.wish
    )
    outcome = run.run(plan, None, lambda _: None)
    assert outcome.left_out == {Verdict.DISCARDED: 1}
    assert outcome.gone == 2
    assert outcome.sent == 3


def test_letters_of_stores_go_to_their_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3, monkeypatch)
    payloads = {Stage.TIMESCALE: [b"a", b"refuse b", b"c"], Stage.SEARCH: [b"d"]}
    for stage, some in payloads.items():
        for payload in some:
            world.topics.add("events.dlq", 0, written(payload, stage=stage))
    _, outcome = world.run()
    assert (outcome.sent, outcome.refused, outcome.gone) == (6, 1, 0)
    assert once(world, 3)
    assert world.rewriter.written == [
        (Stage.TIMESCALE, b"a"), (Stage.TIMESCALE, b"c"), (Stage.SEARCH, b"d")
    ]
    _, again = world.run()
    assert (again.sent, again.refused) == (0, 1)
    assert len(world.rewriter.written) == 3


def test_a_low_rate_makes_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(4, monkeypatch)
    monkeypatch.setattr(replay, "Pace", lambda rate: Pace(rate and rate * 1_000))
    plan = plan_by_wish(world.letters, world.book, Wish(), RULES)
    seen: list[int] = []
    run = Replay(
        world.book, world.letters, world.sender, Writer(), world.rewriter, HELD, RULES, world.wish
    )
    run.run(plan, 2.5, lambda now: seen.append(now.sent))
    assert seen == [2, 4, 4]


def test_a_limit_is_one_of_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(12, monkeypatch)
    plan = plan_by_wish(world.letters, world.book, Wish(limit=5), RULES)
    assert plan.count == 5
    newest = [one.id for one in world.letters.newest_first(Wish())][:5]
    assert set(plan.ids) == set(newest)
    assert list(plan.ids) == sorted(plan.ids)


@pytest.mark.parametrize(("changes", "state", "force", "verdict"), [
    ({}, State.OPEN, False, Verdict.TAKEN),
    ({}, State.REPLAYED, False, Verdict.DONE),
    ({}, State.REPLAYED, True, Verdict.DONE),
    ({}, State.REPLAYING, True, Verdict.ON_ITS_WAY),
    ({}, State.UNKNOWN, False, Verdict.UNKNOWN),
    ({}, State.UNKNOWN, True, Verdict.TAKEN),
    ({}, State.DISCARDED, False, Verdict.DISCARDED),
    ({}, State.DISCARDED, True, Verdict.TAKEN),
    ({"attempt": 2}, State.OPEN, False, Verdict.TAKEN),
    ({"attempt": 3}, State.OPEN, False, Verdict.ATTEMPTS),
    ({"attempt": 3}, State.OPEN, True, Verdict.TAKEN),
    ({"stage": "reference"}, State.OPEN, True, Verdict.OTHER_STAGE),
    ({"stage": "search"}, State.OPEN, False, Verdict.TAKEN),
    ({"stage": "timescale", "size": 9_990}, State.OPEN, False, Verdict.TAKEN),
    ({"stage": "timescale"}, State.DISCARDED, False, Verdict.DISCARDED),
    ({"size": 9_990}, State.OPEN, True, Verdict.TOO_LARGE),
    ({"size": 9_900}, State.OPEN, False, Verdict.TAKEN),
])
def test_whether_a_letter_is_replayed(
    changes: dict[str, Any], state: State, force: bool, verdict: Verdict
) -> None:
    assert ReplayRules(force, 10_000).judge(letter(**changes), state) is verdict


@pytest.mark.parametrize(("state", "verdict"), [
    (State.OPEN, Verdict.TAKEN), (State.UNKNOWN, Verdict.TAKEN), (State.DISCARDED, Verdict.DONE),
    (State.REPLAYED, Verdict.REPLAYED), (State.REPLAYING, Verdict.ON_ITS_WAY),
])
def test_whether_a_letter_is_discarded(state: State, verdict: Verdict) -> None:
    assert DiscardRules().judge(letter(), state) is verdict


def test_every_verdict_says_why() -> None:
    assert all(verdict.description for verdict in Verdict)
    assert not Verdict.DONE.is_refusal
    assert Plan().count == 0
