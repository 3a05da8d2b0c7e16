"""What comparing and exchanging lanes computes without any server."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from control.errors import MisuseError, RefusedError
from control.events.reader import Record
from control.lanes.compare import span_of_shadow
from control.lanes.findings import OutputFindings, SwapFindings
from control.lanes.index_pages import Found, digest_of_source, side_by_side
from control.lanes.sides import Side, digest_of, digest_of_fields
from control.lanes.swap import swap_lane
from control.reconcile.findings import Kind
from control.reconcile.span import Span, exact_moment
from control.settings import load_settings
from jobs.catalogue import JOBS, find_job
from jobs.lane import LIVE, Into, Lane
from jobs.spec import spec_from_json
from udfs.reasons import Stage

SHADOW = Lane("try", Into.SHADOW)


def record(offset: int = 0, timestamp: int = 0) -> Record:
    return Record("t", 0, offset, timestamp, None, b"")


def side(*wholes: bytes, **contents: bytes) -> Side:
    made = Side()
    for one in wholes:
        made.add_whole(one)
    for identity, content in contents.items():
        made.add(record(), identity.encode(), content)
    return made


def test_digests_tell_types_apart_and_know_no_order() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    values: list[Any] = [
        None, "", "None", 0, 1, 1.0, True, "1", b"1", b"", "31", Decimal(1), when, str(when),
        {}, {"a": "b"}, [], ["a"],
    ]
    assert len({digest_of_fields({"a": value}) for value in values}) == len(values)
    assert digest_of_fields({"a": 1, "b": {"x": 1, "y": 2}}) == digest_of_fields(
        {"b": {"y": 2, "x": 1}, "a": 1}
    )
    assert len({digest_of(None), digest_of(b""), digest_of(b"\0"), digest_of(b"a")}) == 4


@given(st.lists(st.binary(max_size=2)), st.lists(st.binary(max_size=2)))
def test_values_without_identity_are_multisets(ours: list[bytes], theirs: list[bytes]) -> None:
    left, right = side(*ours), side(*theirs)
    missing, extra = left.lacks(right), right.lacks(left)
    assert (len(left), len(right)) == (len(ours), len(theirs))
    for one in {*ours, *theirs}:
        assert missing[one] == max(0, theirs.count(one) - ours.count(one))
        assert extra[one] == max(0, ours.count(one) - theirs.count(one))
    assert not left.changed(right)


def test_identities_are_missing_or_changed_once() -> None:
    left, right = side(a=b"1", b=b"2", c=b"3"), side(b=b"2", c=b"4", d=b"5", e=b"6")
    assert left.lacks(right) == {b"d": 1, b"e": 1}
    assert right.lacks(left) == {b"a": 1}
    assert left.changed(right) == right.changed(left) == {b"c": 1}


@given(st.permutations([(5, 3), (5, 4), (7, 0), (300, 1), (300, 256)]))
def test_the_newest_copy_counts_in_whatever_order_it_is_read(
    order: list[tuple[int, int]]
) -> None:
    made = Side()
    for timestamp, offset in order:
        made.add(record(offset, timestamp), b"a", f"{timestamp} {offset}".encode())
    assert len(made) == 1
    assert not made.changed(side(a=b"300 256"))
    assert made.changed(side(a=b"300 1"))


def test_a_record_without_a_time_is_no_error() -> None:
    made = Side()
    made.add(record(timestamp=-1), b"a", b"1")
    assert not made.changed(side(a=b"1"))


def found(keys: Iterable[tuple[int, int]]) -> list[Found]:
    return [Found(f"{one:02}", f"2026.01.{day:02}", 1, {}) for one, day in sorted(set(keys))]


KEYS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 2)))


@given(KEYS, KEYS)
def test_twins_meet_in_the_order_of_their_keys(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    live, shadow = found(ours), found(theirs)
    pairs = list(side_by_side(live, shadow))
    assert [pair[0] for pair in pairs if pair[0] is not None] == live
    assert [pair[1] for pair in pairs if pair[1] is not None] == shadow
    both = {one.key for one in live} & {one.key for one in shadow}
    assert {left.key for left, right in pairs if left is not None and right is not None} == both
    for left, right in pairs:
        assert left is None or right is None or left.key == right.key


def test_a_document_is_the_same_in_any_order() -> None:
    one = {"a": 1, "b": {"x": "1", "y": "2"}, "run": 1}
    other = {"run": 2, "b": {"y": "2", "x": "1"}, "a": 1}
    assert digest_of_source(one, ("run",)) == digest_of_source(other, ("run",))
    assert digest_of_source(one) != digest_of_source(other)


def test_findings_say_whether_both_are_equal() -> None:
    same = OutputFindings("events.clean", 3, 3)
    assert same.equal
    for kind in ("only_live", "only_shadow", "different"):
        other = OutputFindings("table events", 3, 3, **{kind: Kind(2, ["a", "b"])})
        assert not other.equal
        content = other.as_json()
        assert content["equal"] is False
        assert content["output"] == "table events"
        assert content[kind] == {"count": 2, "sample": ["a", "b"]}
    assert SwapFindings("index events", 1, 2, 3).as_json() == {
        "output": "index events", "to_live": 1, "to_shadow": 2, "held_back": 3, "finished": False,
    }


def test_a_span_is_one_of_a_shadow() -> None:
    assert span_of_shadow(SHADOW, 1, 2) == Span(1, 2)
    for lane, message in ((LIVE, "The live job .* the live ones"),
                          (Lane("a", Into.NOTHING), "a has .* writes into nothing")):
        with pytest.raises(RefusedError, match=message):
            span_of_shadow(lane, 1, 2)
    with pytest.raises(MisuseError, match="ends before"):
        span_of_shadow(SHADOW, 2, 2)


def test_a_topic_is_refused_before_a_server_is_asked() -> None:
    spec = find_job("ingest")
    assert spec is not None
    nowhere = load_settings(
        timescale_dsn=SecretStr("postgresql://127.0.0.1:1/x"),
        elasticsearch_url=SecretStr("http://127.0.0.1:1"),
    )
    with pytest.raises(RefusedError, match=r"writes to events\.clean") as refused:
        swap_lane(nowhere, spec, SHADOW, 1, 2, lambda _: None)
    assert "events.dlq" not in refused.value.message


def test_moments_are_exact_and_end_somewhere() -> None:
    assert exact_moment(1_000_001) == "1970-01-01T00:00:01.000001Z"
    assert exact_moment(-5) == "1970-01-01T00:00:00.000000Z"
    assert exact_moment(2**62).startswith("2199-12-31T23:59:59.")


def test_each_stage_of_letters_belongs_to_one_job() -> None:
    owned = [stage for job in JOBS for output in job.writes for stage in output.own]
    assert sorted(owned) == sorted(stage.value for stage in Stage)
    for job in JOBS:
        assert spec_from_json(job.as_json()) == job
