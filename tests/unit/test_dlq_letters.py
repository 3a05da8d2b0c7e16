"""Letters found, chosen and shown: filters, order, tables that fit, pages that are safe to read."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from control.dlq.advice import advice, described
from control.dlq.book import Action, Book
from control.dlq.letter import Letter, LetterId, State, parse_id
from control.dlq.listing import COLUMNS, rows, summary_rows
from control.dlq.page import Ancestor, Page, as_json_object, as_text, gather, hexdump
from control.dlq.plan import plan_by_name
from control.dlq.verdict import ReplayRules, Verdict
from control.dlq.wish import Wish, check, parse_moment
from control.errors import MisuseError, SluiceError
from control.events.decoding import Decoded
from tests.unit.dlq_kit import BEGIN, MemoryBook, Topics, letter, letters_in, written
from udfs.reasons import Reason

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "1", "1:", ":1", "a:1", "1:-1", "1:2:3", "-1:2", " 1:2"])
def test_what_names_no_letter_is_misuse(text: str) -> None:
    with pytest.raises(MisuseError, match="names no letter"):
        parse_id(text)


def test_a_name_comes_back_as_it_was() -> None:
    assert str(parse_id("2:118")) == "2:118"
    assert parse_id("2:118") == LetterId(2, 118)


@pytest.mark.parametrize(("text", "moment"), [
    ("90s", NOW - timedelta(seconds=90)), ("30m", NOW - timedelta(minutes=30)),
    ("6h", NOW - timedelta(hours=6)), ("7d", NOW - timedelta(days=7)),
    ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
    ("2026-11-20T07:30", datetime(2026, 11, 20, 7, 30, tzinfo=UTC)),
    ("2026-11-20T07:30:05Z", datetime(2026, 11, 20, 7, 30, 5, tzinfo=UTC)),
    ("2026-11-20T07:30+02:00", datetime(2026, 11, 20, 5, 30, tzinfo=UTC)),
])
def test_moments(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "7w", "-1h", "999999d", "12:30", "2026-13-01"])
def test_what_is_no_moment_is_misuse(text: str) -> None:
    with pytest.raises(MisuseError, match="is no time"):
        parse_moment(text, NOW)


def test_since_comes_before_until() -> None:
    with pytest.raises(MisuseError):
        check(Wish(since=NOW, until=NOW))
    check(Wish(since=NOW, until=NOW + timedelta(seconds=1)))


@pytest.mark.parametrize(("wish", "taken"), [
    (Wish(), True),
    (Wish(reasons=frozenset({"empty", "unknown_schema"})), True),
    (Wish(reasons=frozenset({"empty"})), False),
    (Wish(stage="ingest", tenant="tenant-0001", retriable=True), True),
    (Wish(stage="search"), False), (Wish(tenant="tenant-0002"), False),
    (Wish(retriable=False), False),
    (Wish(since=BEGIN), True), (Wish(since=BEGIN + timedelta(microseconds=1)), False),
    (Wish(until=BEGIN), False), (Wish(until=BEGIN + timedelta(microseconds=1)), True),
])
def test_wishes(wish: Wish, taken: bool) -> None:
    assert wish.takes(letter()) is taken


def test_who_asks_for_unknown_letters_sees_those_on_their_way_too() -> None:
    assert Wish(state=State.UNKNOWN).takes_state(State.REPLAYING)
    assert not Wish(state=State.OPEN).takes_state(State.REPLAYING)
    assert all(Wish().takes_state(state) for state in State)


@pytest.fixture
def topics() -> Topics:
    made = Topics({"events.dlq": 3})
    for second in range(1_500):
        number = second % 2
        made.add("events.dlq", number, None if second % 7 == 0 else written(), second)
    return made


def seconds(found: list[Letter]) -> list[float]:
    return [(one.time - BEGIN).total_seconds() for one in found]


def test_letters_come_newest_first_whatever_their_partition(topics: Topics) -> None:
    letters, _ = letters_in(topics)
    found = seconds(list(letters.newest_first(Wish())))
    assert found == [second for second in reversed(range(1_500)) if second % 7]
    # The first page costs a window in each partition, not the topic.
    letters, _ = letters_in(topics)
    next(letters.newest_first(Wish()))
    assert letters.seen < 500


def test_a_time_is_read_from_where_it_begins(topics: Topics) -> None:
    letters, _ = letters_in(topics)
    wish = Wish(since=BEGIN + timedelta(seconds=1_480), until=BEGIN + timedelta(seconds=1_490))
    found = seconds(list(letters.in_any_order(wish)))
    assert sorted(found) == [second for second in range(1_480, 1_490) if second % 7]
    assert letters.seen < 20
    assert seconds(list(letters.newest_first(wish))) == sorted(found, reverse=True)


def test_messages_that_are_no_letters_are_counted() -> None:
    topics = Topics({"events.dlq": 1})
    for value in (b"", b"hello", written(), b"\x00\x00\x00\x00\x02\x00\x00\x00"):
        topics.add("events.dlq", 0, value)
    letters, _ = letters_in(topics)
    assert len(list(letters.in_any_order(Wish()))) == 1
    assert letters.foreign == 3


def test_letters_are_found_by_name(topics: Topics) -> None:
    letters, _ = letters_in(topics)
    wanted = [LetterId(0, 1), LetterId(0, 700), LetterId(1, 2)]
    assert [found.id for found, _ in letters.named(wanted)] == [
        one for one in wanted if (one.offset * 2 + one.partition) % 7
    ]
    topics.gone["events.dlq", 0] = 100
    for missing, said in (
        (LetterId(0, 99), "is gone"), (LetterId(0, 9_999), "There is no letter"),
        (LetterId(5, 0), "no partition 5"), (LetterId(2, 0), "There is no letter 2:0"),
    ):
        with pytest.raises(SluiceError, match=said):
            letters.find(missing)


def test_letters_that_were_named_must_all_be_there(topics: Topics) -> None:
    letters, _ = letters_in(topics)
    rules = ReplayRules(force=False, max_bytes=10_000)
    ids = [LetterId(1, 1), LetterId(0, 1), LetterId(1, 1)]
    plan = plan_by_name(letters, MemoryBook(), ids, rules)
    assert plan.named == {LetterId(0, 1): Verdict.TAKEN, LetterId(1, 1): Verdict.TAKEN}
    with pytest.raises(SluiceError, match=r"1 more are not there"):
        plan_by_name(letters, MemoryBook(), [LetterId(7, 1), *ids, LetterId(8, 1)], rules)


def width(table: list[list[str]]) -> int:
    widths = [max(map(len, column)) for column in zip(COLUMNS, *table, strict=True)]
    return sum(widths) + 2 * (len(widths) - 1)


def test_a_list_fits_a_hundred_columns() -> None:
    plain = letter(detail="d" * 500)
    assert 95 <= width(rows([(plain, State.OPEN)])) <= 100
    worst = letter(
        id=LetterId(11, 1_234_567), reason="unknown_event_type", stage="reference",
        tenant_id="t" * 40, detail="x" * 500, attempt=12,
    )
    assert width(rows([(worst, State.DISCARDED)])) <= 108
    hostile = letter(tenant_id="a\x1b[31m\n", detail="\x07bell")
    assert all(cell.isprintable() for cell in rows([(hostile, State.OPEN)])[0])


def test_a_summary_adds_up() -> None:
    counts = Counter({("empty", State.OPEN): 2, ("bad_uuid", State.OPEN): 5,
                      ("empty", State.REPLAYED): 1_000})
    columns, table = summary_rows(counts)
    assert columns == ["reason", "open", "replayed", "count"]
    assert table == [
        ["empty", "2", "1,000", "1,002"], ["bad_uuid", "5", "0", "5"],
        ["all", "7", "1,000", "1,007"],
    ]
    assert summary_rows(Counter())[1] == [["all", "0"]]


def test_every_reason_has_a_meaning_and_advice() -> None:
    for reason in Reason:
        assert described(reason.value) == reason.description
        assert advice(reason.value)
    assert "newer" in advice("struck_by_lightning")
    assert described("struck_by_lightning")


def test_a_hexdump_reads_like_one() -> None:
    assert hexdump(b"") == []
    first, second = hexdump(bytes(range(60, 80)))
    assert first == (
        "  0000  3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK"
    )
    assert second.endswith("  LMNO")


def page(payload: bytes, decoded: Decoded, **changes: Any) -> Page:
    action = Action("replayed", 2, "op", BEGIN, "ann", "host", "note \x1b[0m")
    one = letter(**changes)
    ancestors = [Ancestor(LetterId(0, 7), letter(7), [action]), Ancestor(LetterId(0, 1), None, [])]
    return Page(one, payload, decoded, State.OPEN, [action], ancestors)


@pytest.mark.parametrize("decoded", [
    Decoded(problem="empty"), Decoded(999, problem="the registry has no schema 999"),
    Decoded(3, "sluice.events.User", {"event_id": "\x1b[31mx", "raw": b"\x00", "at": BEGIN}),
])
def test_a_page_is_safe_to_read_and_fits(decoded: Decoded) -> None:
    shown = page(bytes(range(256)), decoded, detail="word " * 90)
    text = as_text(shown)
    assert all(line.isprintable() for line in text.split("\n"))
    assert max(map(len, text.split("\n"))) <= 100
    for part in ("unknown_schema", "ann@host", "0:7", "which is gone", "To mend it", "1 of 3"):
        assert part in text
    content = json.loads(json.dumps(as_json_object(shown)))
    assert content["payload"]["size"] == 256
    assert content["ancestors"][1] == {"letter": "0:1", "gone": True, "reason": None, "actions": []}


class Remembers(MemoryBook):
    def history(self, letter: Letter) -> list[Action]:
        return []


@pytest.mark.parametrize("link", ["0:0", "nonsense", "0:77"])
def test_a_chain_of_letters_that_leads_nowhere_ends(link: str) -> None:
    topics = Topics({"events.dlq": 1})
    topics.add("events.dlq", 0, written(replay_of=link))
    letters, decoding = letters_in(topics)
    found = gather(LetterId(0, 0), letters, cast(Book, Remembers()), decoding)
    # A letter that claims to be its own ancestor is hostile; it ends, too.
    assert len(found.ancestors) == (20 if link == "0:0" else 1)
    assert as_text(found)
