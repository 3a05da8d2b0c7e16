"""What a shadow wrote into a table, compared and exchanged, on both kinds of server."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from control.errors import RefusedError
from control.lanes.compare import OutputFindings, compare_lane
from control.lanes.outlets import make_outlets, remove_outlets
from control.lanes.swap import SwapFindings, swap_lane
from control.settings import Settings, load_settings
from jobs.spec import JobSpec, OutputKind
from tests.integration.lanes_kit import END, FIRST, SPAN, Rows, cleaned, job, shadow, silent
from tests.kit.databases import SERVERS, TIMESCALE, fresh_database
from tests.kit.sinks import Clean, CleanMaker

LANE = shadow("try-1")
MAKER = CleanMaker()
SECOND = timedelta(seconds=1)


def only_table() -> JobSpec:
    """Return job timescale without its letters, which need another server."""
    spec = job("timescale").as_json()
    writes = tuple(one for one in job("timescale").writes if one.kind is OutputKind.TABLE)
    return JobSpec(**{**spec, "writes": writes, "state": (), "health": job("timescale").health,
                      "upgrade": job("timescale").upgrade})


SPEC = only_table()


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, Settings]]:
    with fresh_database(request.param, "lanes") as dsn:
        # Nothing else is asked for anything.
        settings = load_settings(
            timescale_dsn=dsn, kafka_bootstrap="127.0.0.1:1",
            elasticsearch_url=SecretStr("http://127.0.0.1:1"),
        )
        make_outlets(settings, SPEC, LANE)
        yield request.param, settings


@pytest.fixture
def settings(server: tuple[str, Settings]) -> Settings:
    return server[1]


@pytest.fixture
def tables(settings: Settings) -> Rows:
    found = Rows(settings.timescale_dsn, MAKER, LANE)
    found.clear()
    return found


def compare(settings: Settings) -> OutputFindings:
    (found,) = compare_lane(settings, SPEC, LANE, *SPAN, silent)
    return found


def swap(settings: Settings) -> SwapFindings:
    (found,) = swap_lane(settings, SPEC, LANE, *SPAN, silent)
    return found


def counts(found: OutputFindings) -> tuple[int, int, int]:
    return found.only_live.count, found.only_shadow.count, found.different.count


def records(count: int, seed: int) -> list[Clean]:
    return cleaned(MAKER, MAKER.make(count, seed))


def key(record: Clean) -> str:
    return f"{record.id} {record.fields['occurred_at']:%Y-%m-%dT%H:%M:%S.%fZ}"


def test_outlets_can_be_made_and_removed_twice(settings: Settings) -> None:
    other = shadow("other")
    for act, there in ((make_outlets, True), (remove_outlets, False)):
        for _ in range(2):
            act(settings, SPEC, other)
            with psycopg.connect(settings.timescale_dsn.get_secret_value()) as connection:
                row = connection.execute(
                    "SELECT to_regclass('shadow.events_other') IS NOT NULL"
                ).fetchone()
            assert row == (there,)
    with pytest.raises(RefusedError, match=r"no table shadow\.events_other"):
        compare_lane(settings, SPEC, other, *SPAN, silent)


def test_what_is_the_same_is_equal(settings: Settings, tables: Rows) -> None:
    made = records(300, 1)
    tables.write(made, made)
    found = compare(settings)
    assert (found.equal, found.live, found.shadow) == (True, 300, 300)
    assert counts(found) == (0, 0, 0)
    assert found.as_json()["only_live"] == {"count": 0, "sample": []}


def test_each_kind_of_difference_is_found(settings: Settings, tables: Rows) -> None:
    made = records(100, 2)
    changes: list[dict[str, Any]] = [
        {"amount": Decimal("0.0001")}, {"attributes": {"a": "b"}}, {"text": None},
        {"duration_ms": 1e-300}, {"cleaned_at": FIRST + timedelta(microseconds=1)},
    ]
    changed = [
        MAKER.changed(record, **change)
        for record, change in zip(made[95:], changes, strict=True)
    ]
    changed[2] = MAKER.changed(made[97], text="another one")
    outside = [
        *cleaned(MAKER, MAKER.make(3, 20), FIRST - SECOND),
        *cleaned(MAKER, MAKER.make(3, 21), END),
    ]
    tables.write(made[:80] + made[95:] + outside[:3], made[12:95] + changed + outside[3:])
    found = compare(settings)
    assert (found.equal, found.live, found.shadow) == (False, 85, 88)
    assert counts(found) == (12, 15, 5)
    # By the key's order, which is that of the uuid.
    assert found.only_live.sample == sorted(map(key, made[:12]))[:10]
    assert found.only_shadow.sample == sorted(map(key, made[80:95]))[:10]
    assert found.different.sample == sorted(map(key, made[95:]))


def test_one_empty_side_is_all_different(settings: Settings, tables: Rows) -> None:
    made = records(20, 3)
    assert counts(compare(settings)) == (0, 0, 0)
    tables.write([], made)
    assert counts(compare(settings)) == (0, 20, 0)
    assert swap(settings) == SwapFindings("table events", 20, 0, 0)
    assert counts(compare(settings)) == (20, 0, 0)


def test_a_copy_outside_of_the_span_is_none(settings: Settings, tables: Rows) -> None:
    made = records(2, 4)
    newer = cleaned(MAKER, made, END)
    tables.write([newer[0], made[1]], [made[0], newer[1]])
    assert counts(compare(settings)) == (1, 1, 0)


def test_what_is_exchanged_is_exchanged_back(settings: Settings, tables: Rows) -> None:
    made = records(60, 5)
    changed = [MAKER.changed(record, text="of the shadow") for record in made[40:50]]
    newer = cleaned(MAKER, made[50:55], END)
    older = cleaned(MAKER, made[55:], FIRST - SECOND)
    tables.write(
        # Alone in the live one; the same in both; different; newer and older than the shadow's.
        made[:20] + made[30:50] + newer + older,
        made[20:40] + changed + made[50:],
    )
    before = live, shadow_ = tables.state()
    found = swap(settings)
    assert found == SwapFindings("table events", 20, 30, 10)
    after_live, after_shadow = tables.state()
    ids = [record.id for record in made]
    # What moved is the other's, what did not move is its own.
    for group, of_live, of_shadow in (
        (ids[:20], {}, live), (ids[20:30], shadow_, {}), (ids[40:50], shadow_, live),
        (ids[30:40], live, live), (ids[50:], live, shadow_),
    ):
        for one in group:
            assert after_live.get(one) == of_live.get(one)
            assert after_shadow.get(one) == of_shadow.get(one)
    assert swap(settings) == SwapFindings("table events", 30, 20, 10)
    assert tables.state() == before


def test_compressed_rows_move_too(
    server: tuple[str, Settings], settings: Settings, tables: Rows
) -> None:
    made = records(200, 6)
    tables.write(made[:150], made[50:])
    before = tables.state()
    if server[0] == TIMESCALE:
        with psycopg.connect(
            settings.timescale_dsn.get_secret_value(), autocommit=True
        ) as connection:
            packed = connection.execute(
                "SELECT count(compress_chunk(c, if_not_compressed => true))"
                " FROM show_chunks('public.events') c"
            ).fetchone()
        assert packed is not None
        assert packed[0] > 0
    assert tables.state() == before
    assert swap(settings).to_live == 50
    assert set(tables.state()[0]) == {record.id for record in made[50:]}
    swap(settings)
    assert tables.state() == before


def test_a_writer_meanwhile_loses_nothing(settings: Settings, tables: Rows) -> None:
    made = records(400, 7)
    tables.write(made[:300], made[100:])
    more = cleaned(MAKER, MAKER.make(400, 8))
    newer = [
        MAKER.changed(record, text="newer")
        for record in cleaned(MAKER, made[::4], END)
    ]
    stop = threading.Event()
    errors: list[Exception] = []
    written = 0

    def write() -> None:
        nonlocal written
        batch = tables.compiled(newer)
        with tables.writer() as writer:
            try:
                while not stop.is_set() and written < len(more):
                    # In no order: the writer's own is what counts.
                    writer.write(tables.compiled(more[written:written + 20]) + batch[::-1])
                    written += 20
            except Exception as error:  # noqa: BLE001
                errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(6):
            swap(settings)
    finally:
        stop.set()
        thread.join()
    assert errors == []
    live, shadowed = tables.state()
    for record in newer:
        assert live[record.id]["text"] == "newer"
    for record in [*made, *more[:written]]:
        assert record.id in live or record.id in shadowed
    # Nothing but copies of the span is exchanged; the newest ones never leave.
    assert not [one for one in shadowed.values() if one["text"] == "newer"]


def test_another_shape_is_refused(settings: Settings, tables: Rows) -> None:
    dsn = settings.timescale_dsn.get_secret_value()
    other = shadow("older")
    make_outlets(settings, SPEC, other)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE shadow.events_older DROP COLUMN country")
    for act in (compare_lane, swap_lane):
        with pytest.raises(RefusedError, match="other columns"):
            act(settings, SPEC, other, *SPAN, silent)
    remove_outlets(settings, SPEC, other)
    assert tables.state() == ({}, {})
