"""Replays on real servers: history is read once more while the live jobs run and events come."""

import json
import subprocess
import time
from collections.abc import Iterator
from secrets import token_hex

import psycopg
import pytest
from kafka import TopicPartition

from control.events.reader import open_reader
from control.flink import FlinkClient
from control.kafka import admin_client
from control.lanes.history import look_back, replayed_topics
from tests.kit.databases import execute
from tests.kit.ingest import running_ingest
from tests.kit.jobs import SINK_STEP, job_id, running_job, worker_of
from tests.kit.kafka import make_topic, send
from tests.kit.outcome import CLEAN
from tests.kit.replay import COUNT, Flow, shadow_ids
from tests.kit.sinks import row_ids
from tests.kit.stack import SLUICE, TestStack
from tests.kit.wait import wait_until

GOOD, FAILED, MISUSED, REFUSED = 0, 1, 2, 3


@pytest.fixture(scope="module")
def flow(stack: TestStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """Yield the stack with both jobs running, and a span of events behind them."""
    stack.ok("db", "migrate")
    with running_ingest(stack), running_job(stack, "timescale"):
        yield Flow(stack, tmp_path_factory.mktemp("replay"), 901)


@pytest.fixture
def _more_events(flow: Flow) -> Iterator[None]:
    """Let events come meanwhile; the live job is the same one afterwards."""
    before = {name: job_id(flow.stack, name) for name in ("ingest", "timescale")}
    with subprocess.Popen(
        [str(SLUICE), "events", "produce", "--duration", "60", "--rate", "100", "--seed", "902"],
        env=flow.stack.environment(), stdout=subprocess.DEVNULL,
    ) as more:
        yield
        more.terminate()
    assert {name: job_id(flow.stack, name) for name in before} == before


@pytest.mark.usefixtures("_more_events")
def test_what_was_deleted_from_the_table_comes_back(flow: Flow) -> None:
    lost = sorted(flow.sent.clean)[:500]
    execute(flow.stack, "DELETE FROM events WHERE event_id = ANY(%s::uuid[])", lost)
    done = flow.replay("timescale", "--rate", "2000")
    assert done.returncode == GOOD, done.stdout + done.stderr
    assert "stands in TimescaleDB once and unchanged" in done.stdout
    assert "Not compared" not in done.stdout
    # That one stands twice is an error of its own.
    assert row_ids(flow.stack, flow.sent.clean) == flow.sent.clean


def test_a_shadow_is_finished_after_both_were_killed(flow: Flow) -> None:
    killed = flow.replay("timescale", "--into", "shadow", "--rate", "200",
                         SLUICE_FAULT="start-done")
    assert killed.returncode == -9, killed.stdout + killed.stderr
    replay = flow.newest()
    number, table = str(replay["number"]), flow.shadow_table()
    assert replay["state"] == "running"
    wait_until("some of it written", lambda: shadow_ids(flow.stack, table), 90)
    lane_job = json.loads(flow.stack.ok("replay", "show", number, "--json"))["jobs"][0]
    flow.stack.kill(worker_of(flow.stack, lane_job, SINK_STEP))
    flow.stack.ok("stack", "up")
    other = flow.replay("timescale", "--into", "shadow")
    assert other.returncode == REFUSED
    assert "is not over" in other.stderr
    done = flow.stack.run("replay", "resume", number)
    assert done.returncode == GOOD, done.stdout + done.stderr
    assert "stands in the shadow" in done.stdout
    assert shadow_ids(flow.stack, table) == flow.sent.clean
    assert row_ids(flow.stack, flow.sent.clean) == flow.sent.clean
    flow.stack.ok("replay", "compare", number, "--margin", "0")
    _swaps_what_is_wrong(flow, number)
    flow.stack.ok("replay", "drop", number)
    assert _exists(flow.stack, table) is False
    assert flow.stack.run("replay", "drop", number).returncode == REFUSED


def _swaps_what_is_wrong(flow: Flow, number: str) -> None:
    """Exchange what somebody has spoilt for what the shadow holds."""
    spoilt = sorted(flow.sent.clean)[:3]
    execute(flow.stack, "UPDATE events SET source = 'spoilt' WHERE event_id = ANY(%s::uuid[])",
            spoilt)
    compared = flow.stack.run("replay", "compare", number, "--margin", "0", "--json")
    assert compared.returncode == FAILED
    assert [one["different"]["count"] for one in json.loads(compared.stdout)] == [3, 0]
    assert flow.stack.run("replay", "swap", number, "--yes").returncode == REFUSED
    swap = ("replay", "swap", number, "--margin", "0", "--yes")
    flow.stack.ok(*swap)
    flow.stack.ok("reconcile", "--store", "timescale")
    assert "Once more brings back what was" in flow.stack.ok(*swap)
    assert flow.stack.run("reconcile", "--store", "timescale").returncode == FAILED
    flow.stack.ok(*swap)


def test_what_makes_no_sense_is_refused(flow: Flow) -> None:
    stack = flow.stack
    later = stack.run("replay", "timescale", "--from", "1h", "--to", "2999-01-01")
    assert (later.returncode, "future" in later.stderr) == (MISUSED, True)
    empty = stack.run("replay", "timescale", "--from", "2020-01-01", "--to", "2020-01-02")
    assert (empty.returncode, "nothing came" in empty.stderr) == (REFUSED, True)
    assert stack.run("replay", "nobody", "--from", "1h").returncode == MISUSED
    unasked = flow.replay("ingest")
    assert (unasked.returncode, "--yes" in unasked.stderr) == (MISUSED, True)
    plan = json.loads(flow.replay("ingest", "--rate", "100", "--dry-run", "--json").stdout)
    assert plan["messages"] >= COUNT
    assert plan["seconds_at_least"] >= COUNT / 100
    assert any("events.clean" in effect for effect in plan["effects"])
    assert all(check["verdict"] == "good" for check in plan["checks"])


def test_what_kafka_has_forgotten_is_noticed(stack: TestStack) -> None:
    bootstrap, topic = stack.settings().kafka_bootstrap, f"forgetful-{token_hex(3)}"
    make_topic(bootstrap, topic, partitions=2)
    begun = _now_ms()
    send(bootstrap, topic, [b"%d" % number for number in range(50)])
    time.sleep(0.1)
    middle = _now_ms()
    send(bootstrap, topic, [b"%d" % number for number in range(50)])
    whole = look_back(bootstrap, [topic], begun, _now_ms())
    assert (whole.messages, whole.reaches_back) == (100, None)
    [cut] = [part for part, (first, end) in whole.spans[topic].items() if end - first > 20][:1]
    with admin_client(bootstrap) as admin:
        admin.delete_records({TopicPartition(topic, cut): 1})
    found = look_back(bootstrap, [topic], begun, _now_ms())
    assert found.messages == 99
    assert found.reaches_back is not None
    assert begun <= found.reaches_back < middle
    assert look_back(bootstrap, [topic], middle, _now_ms()).reaches_back is None
    assert replayed_topics(bootstrap, [topic, "reference.tenants"]) == (topic,)


@pytest.mark.long
def test_ingest_once_more_into_live(flow: Flow) -> None:
    before = _committed(flow.stack)
    done = flow.replay("ingest", "--yes")
    assert done.returncode == GOOD, done.stdout + done.stderr
    assert "stands in TimescaleDB once and unchanged" in done.stdout
    assert _committed(flow.stack) - before >= len(flow.sent.clean)
    assert row_ids(flow.stack, flow.sent.clean) == flow.sent.clean
    assert _open_transactions(flow.stack, flow.newest()["lane"]) == []


@pytest.mark.long
def test_a_cancelled_replay_leaves_no_transaction_open(flow: Flow) -> None:
    killed = flow.replay("ingest", "--yes", "--rate", "50", SLUICE_FAULT="start-done")
    assert killed.returncode == -9
    replay = flow.newest()
    wait_until("a transaction", lambda: _open_transactions(flow.stack, replay["lane"]), 90)
    flow.stack.ok("replay", "cancel", str(replay["number"]))
    assert _open_transactions(flow.stack, replay["lane"]) == []
    assert flow.newest()["state"] == "undone"
    with FlinkClient(flow.stack.settings().flink_url) as flink:
        assert flink.live_job(f"ingest-{replay['lane']}") is None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _exists(stack: TestStack, table: str) -> bool:
    with psycopg.connect(stack.settings().timescale_dsn.get_secret_value()) as connection:
        row = connection.execute("SELECT to_regclass(%s)", [f"shadow.{table}"]).fetchone()
    return row is not None and row[0] is not None


def _committed(stack: TestStack) -> int:
    with open_reader(stack.settings().kafka_bootstrap) as reader:
        return sum(1 for _ in reader.follow(CLEAN, from_start=True, to_end=True))


def _open_transactions(stack: TestStack, lane: str) -> list[str]:
    with admin_client(stack.settings().kafka_bootstrap) as admin:
        listed = admin.list_transactions(state_filters=["Ongoing"])
    return [one.transactional_id for entries in listed.values() for one in entries
            if lane in one.transactional_id]
