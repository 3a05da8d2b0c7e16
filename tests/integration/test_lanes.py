"""What a shadow wrote into topics, compared; its outlets; what cannot be exchanged."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from secrets import token_hex
from typing import Any

import fastavro
import pytest

from control.errors import MisuseError, RefusedError
from control.kafka import admin_client
from control.lanes.compare import OutputFindings, compare_lane
from control.lanes.outlets import make_outlets, remove_outlets
from control.lanes.swap import swap_lane
from control.registry import RegistryClient
from control.search import ask
from control.settings import Settings
from jobs.lane import Into, Lane
from jobs.spec import JobSpec, Output
from tests.integration.lanes_kit import END, FIRST, SPAN, Documents, job, micros, shadow, silent
from tests.kit.kafka import make_topic, send
from tests.kit.sinks import Clean, CleanMaker
from tests.kit.stack import TestStack
from udfs.wire import frame

SECOND = timedelta(seconds=1)
LETTER = {
    "reason": "refused", "detail": "why", "stage": "timescale", "retriable": False, "attempt": 1,
    "source_topic": "events.clean", "schema_id": None,
}


class Topics:
    """A topic of a test's own and its shadow, written by a job of one output."""

    def __init__(self, stack: TestStack, output: Output, name: str = "events.clean") -> None:
        self.settings: Settings = stack.settings()
        self.name = f"lanes-{token_hex(4)}"
        self.lane = shadow("side")
        like = next(one for one in job("ingest").writes if one.name == name)
        self.spec: JobSpec = replace(
            job("ingest"), writes=(replace(output or like, name=self.name),)
        )
        make_topic(self.settings.kafka_bootstrap, self.name, 3)
        make_outlets(self.settings, self.spec, self.lane)

    def send(self, live: list[bytes], shadow: list[bytes]) -> None:
        """Send what the job would have written, and what its shadow would have."""
        send(self.settings.kafka_bootstrap, self.name, live)
        send(self.settings.kafka_bootstrap, self.lane.topic(self.name), shadow)

    def compare(self, first: int = SPAN[0], end: int = SPAN[1]) -> OutputFindings:
        """Return what differs."""
        (found,) = compare_lane(self.settings, self.spec, self.lane, first, end, silent)
        assert found.output == self.name
        return found


CLEAN, LETTERS = job("ingest").writes
WHOLE = Output("", harmless=False, again="")


@pytest.fixture(scope="module")
def maker(stack: TestStack) -> CleanMaker:
    return CleanMaker(stack)


@pytest.fixture
def topics(stack: TestStack) -> Iterator[Callable[[Output], Topics]]:
    made: list[Topics] = []

    def make(output: Output) -> Topics:
        made.append(Topics(stack, output))
        return made[-1]

    yield make
    for one in made:
        remove_outlets(one.settings, one.spec, one.lane)


def received(maker: CleanMaker, count: int, seed: int) -> list[Clean]:
    """Return records that Kafka took in the span."""
    return [
        maker.changed(record, received_at=FIRST + timedelta(milliseconds=number))
        for number, record in enumerate(maker.make(count, seed))
    ]


def values(records: list[Clean]) -> list[bytes]:
    return [record.value for record in records]


def ids(records: list[Clean]) -> list[str]:
    return sorted(record.id for record in records)


def counts(found: OutputFindings) -> tuple[int, int, int]:
    return found.only_live.count, found.only_shadow.count, found.different.count


def letters(settings: Settings, *changes: dict[str, Any]) -> list[bytes]:
    with RegistryClient(settings.registry_url) as registry:
        schema = registry.version("sluice.events.DeadLetter", 1)
    made = []
    for number, change in enumerate(changes):
        out = BytesIO()
        fields = {**LETTER, "payload": b"\0a", "failed_at": END,
                  "source_time": FIRST + timedelta(milliseconds=number), **change}
        fastavro.schemaless_writer(out, fastavro.parse_schema(schema.schema), fields)
        made.append(frame(schema.id, out.getvalue()))
    return made


def test_outlets_can_be_made_and_removed_twice(stack: TestStack, maker: CleanMaker) -> None:
    settings, lane = stack.settings(), shadow("twice")
    wanted = {"events.clean.twice": 8, "events.dlq.twice": 4}
    for act, there in ((make_outlets, wanted), (remove_outlets, {})):
        for _ in range(2):
            for name in ("ingest", "search"):
                act(settings, job(name), lane)
            with admin_client(settings.kafka_bootstrap) as admin:
                found = [name for name in admin.list_topics() if name.endswith(".twice")]
                sizes = {one["name"]: len(one["partitions"])
                         for one in admin.describe_topics(found)} if found else {}
            assert sizes == there
        if there:
            Documents(stack, lane).write([], maker.make(5, 900_001))
            assert ask("GET", settings.elasticsearch_url, "/shadow-twice-*")
    assert not ask("GET", settings.elasticsearch_url, "/shadow-twice-*")
    with pytest.raises(RefusedError, match=r"events\.clean\.twice"):
        compare_lane(settings, job("ingest"), lane, *SPAN, silent)


def test_what_is_the_same_is_equal(
    topics: Callable[[Output], Topics], maker: CleanMaker
) -> None:
    ours = topics(CLEAN)
    made = received(maker, 200, 900_002)
    # Cleaned at another time, in another order, some written twice.
    again = [maker.changed(record, cleaned_at=END) for record in made]
    ours.send(values(made + made[:20]), values(again[::-1] + again[30:33]))
    found = ours.compare()
    assert (found.equal, found.live, found.shadow) == (True, 200, 200)


def test_each_kind_of_difference_between_identities_is_found(
    topics: Callable[[Output], Topics], maker: CleanMaker
) -> None:
    ours = topics(CLEAN)
    made = received(maker, 100, 900_003)
    changed = [maker.changed(record, attributes={"b": "1", "a": "2"}) for record in made[90:]]
    outside = [
        maker.changed(record, received_at=moment) for record, moment in zip(
            maker.make(2, 900_004), (FIRST - timedelta(microseconds=1), END), strict=True
        )
    ]
    ours.send(values(made[:80] + made[90:] + outside[:1]),
              values(made[12:90] + changed + outside[1:]))
    found = ours.compare()
    assert (found.equal, found.live, found.shadow) == (False, 90, 88)
    assert counts(found) == (12, 10, 10)
    assert len(found.only_live.sample) == 10
    assert set(found.only_live.sample) < set(ids(made[:12]))
    assert found.only_shadow.sample == ids(made[80:90])
    assert found.different.sample == ids(made[90:])
    # All of it, when all of the time is asked for.
    assert counts(ours.compare(0, 2**62)) == (13, 11, 10)


def test_of_two_copies_the_newest_counts(
    topics: Callable[[Output], Topics], maker: CleanMaker
) -> None:
    ours = topics(CLEAN)
    made = received(maker, 2, 900_005)
    changed = [maker.changed(record, text="other") for record in made]
    ours.send(values([changed[0]]), values([made[1]]))
    ours.send(values([made[0], made[1]]), values([made[0], changed[1]]))
    found = ours.compare()
    assert counts(found) == (0, 0, 1)
    assert found.different.sample == [made[1].id]


def test_what_has_no_identity_is_counted(topics: Callable[[Output], Topics]) -> None:
    ours = topics(WHOLE)
    ours.send([b"once", b"twice", b"twice", b"", b"\xff" * 40], [b"", b"twice", b"once", b"new"])
    now = micros(END) * 2
    found = ours.compare(0, now)
    assert (found.live, found.shadow) == (5, 4)
    assert counts(found) == (2, 1, 0)
    assert any("7477696365 (5 bytes)" in one for one in found.only_live.sample)
    assert "6e6577 (3 bytes)" in found.only_shadow.sample[0]
    # Taken by Kafka after the span.
    empty = ours.compare()
    assert (empty.equal, empty.live, empty.shadow) == (True, 0, 0)


def test_what_cannot_be_decoded_is_compared_whole(
    topics: Callable[[Output], Topics], maker: CleanMaker
) -> None:
    ours = topics(CLEAN)
    made = received(maker, 3, 900_006)
    cut = made[0].value[:-3]
    ours.send([*values(made), cut, b"x", b"x"], [*values(made), b"x", b"x", b"y"])
    found = ours.compare(SPAN[0], micros(END) * 2)
    assert (found.live, found.shadow) == (6, 6)
    assert counts(found) == (1, 1, 0)
    assert f"({len(cut)} bytes)" in found.only_live.sample[0]
    assert "79 (1 bytes)" in found.only_shadow.sample[0]
    # The live ones came after this span; a shadow's come at any time.
    found = ours.compare()
    assert (found.live, found.shadow) == (3, 6)
    assert counts(found) == (0, 3, 0)


def test_fields_are_compared_whatever_schema_wrote_them(
    topics: Callable[[Output], Topics]
) -> None:
    ours = topics(replace(WHOLE, identity=("id",), of_the_run=("run",), time="at"))
    texts = [{"name": "id", "type": "string"}, {"name": "run", "type": "string"}]
    rest = [{"name": "at", "type": "long"}, {"name": "more", "type": ["null", "bytes"]}]
    messages: list[list[bytes]] = []
    with RegistryClient(ours.settings.registry_url) as registry:
        for fields in (texts + rest, rest[::-1] + texts):
            name = f"Lanes{token_hex(4)}"
            schema = {"type": "record", "name": name, "fields": fields}
            number = registry.register(name, schema)
            written = []
            for one, more in (("a", b"1"), ("b", None), ("c", b"b'1'")):
                out = BytesIO()
                fastavro.schemaless_writer(out, fastavro.parse_schema(schema), {
                    "id": one, "run": name, "at": SPAN[0],
                    "more": b"2" if one == "c" and messages else more,
                })
                written.append(frame(number, out.getvalue()))
            messages.append(written)
    ours.send(*messages)
    found = ours.compare()
    assert (found.live, found.shadow) == (3, 3)
    assert counts(found) == (0, 0, 1)
    assert found.different.sample == ["c"]


def test_letters_of_other_jobs_do_not_count(
    stack: TestStack, topics: Callable[[Output], Topics]
) -> None:
    ours = topics(next(one for one in job("timescale").writes if one.own))
    others = {"stage": "search"}
    live = letters(stack.settings(), {}, others, {"payload": b"x"}, {"detail": "one"})
    side = letters(stack.settings(), {"failed_at": FIRST}, others, {"payload": b"y"},
                   {"detail": "two"})
    ours.send(live, side)
    found = ours.compare()
    assert (found.live, found.shadow) == (3, 3)
    assert counts(found) == (1, 1, 1)
    assert "payload=\"78 (1 bytes)\"" in found.only_live.sample[0]


def test_topics_are_not_exchanged(stack: TestStack) -> None:
    with pytest.raises(RefusedError, match=r"events\.clean") as refused:
        swap_lane(stack.settings(), job("ingest"), shadow("side"), *SPAN, silent)
    assert "--into live" in refused.value.hint
    with pytest.raises(MisuseError, match="ends before"):
        swap_lane(stack.settings(), job("search"), shadow("side"), 5, 5, silent)
    for into in (Into.LIVE, Into.NOTHING):
        with pytest.raises(RefusedError, match="no outputs of its own"):
            compare_lane(stack.settings(), job("search"), Lane("a", into), *SPAN, silent)
