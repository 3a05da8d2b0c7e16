"""Replays into each outlet: what is not whole is noticed, what was cut off goes on."""

import json
from collections.abc import Iterator

import httpx
import pytest

from control.flink import FlinkClient
from tests.kit import flink
from tests.kit.databases import execute
from tests.kit.ingest import running_ingest
from tests.kit.jobs import running_job, worker_of
from tests.kit.outcome import Outlet
from tests.kit.replay import Flow
from tests.kit.sinks import document_ids, documents, row_ids
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

GOOD, FAILED = 0, 1


@pytest.fixture(scope="module")
def flow(stack: TestStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """Yield the stack with all jobs running, and a span of events behind them."""
    stack.ok("db", "migrate")
    with running_ingest(stack), running_job(stack, "timescale"), running_job(stack, "search"):
        found = Flow(stack, tmp_path_factory.mktemp("replay"), 903)
        wait_until("all in the indices",
                   lambda: document_ids(stack, found.sent.clean) == found.sent.clean, 120, pause=1)
        yield found
        # By the books it would run on, and the next replay would wait for what it writes.
        stack.ok("stop", "search")


@pytest.mark.long
def test_a_shadow_that_lacks_rows_is_not_called_whole(flow: Flow) -> None:
    killed = flow.replay("timescale", "--into", "shadow", SLUICE_FAULT="run-done")
    assert killed.returncode == -9, killed.stdout + killed.stderr
    number = str(flow.newest()["number"])
    lost, table = sorted(flow.sent.clean)[:5], f"shadow.{flow.shadow_table()}"
    execute(flow.stack, f"DELETE FROM {table} WHERE event_id = ANY(%s::uuid[])", lost)
    done = flow.stack.run("replay", "resume", number)
    assert done.returncode == FAILED, done.stdout + done.stderr
    assert "5 missing" in done.stderr
    assert flow.newest()["state"] == "failed"
    compared = flow.stack.run("replay", "compare", number, "--margin", "0", "--json")
    assert compared.returncode == FAILED
    flow.stack.ok("replay", "drop", number)


@pytest.mark.long
def test_documents_of_a_shadow_are_compared_and_swapped(flow: Flow) -> None:
    done = flow.replay("search", "--into", "shadow")
    assert done.returncode == GOOD, done.stdout + done.stderr
    assert "stands in the shadow" in done.stdout
    number = str(flow.newest()["number"])
    compare = ("replay", "compare", number, "--margin", "0", "--json")
    flow.stack.ok(*compare)
    _spoil(flow.stack, sorted(flow.sent.clean)[:3])
    compared = flow.stack.run(*compare)
    assert compared.returncode == FAILED
    assert [one["different"]["count"] for one in json.loads(compared.stdout)] == [3, 0]
    # What other tests have left in the indices lies before.
    reconcile = ("reconcile", "--store", "search", "--from", flow.since)
    assert flow.stack.run(*reconcile).returncode == FAILED
    flow.stack.ok("replay", "swap", number, "--margin", "0", "--yes")
    flow.stack.ok(*reconcile)
    assert document_ids(flow.stack, flow.sent.clean) == flow.sent.clean
    flow.stack.ok("replay", "drop", number)


@pytest.mark.long
def test_a_throttled_ingest_that_died_writes_each_event_once_more(flow: Flow) -> None:
    stack = flow.stack
    outlet = Outlet(stack.settings().kafka_bootstrap)
    killed = flow.replay("ingest", "--yes", "--rate", "50", SLUICE_FAULT="start-done")
    assert killed.returncode == -9, killed.stdout + killed.stderr
    replay = flow.newest()
    with FlinkClient(stack.settings().flink_url) as client:
        job = client.live_job(f"ingest-{replay['lane']}")
    assert job is not None
    wait_until("three checkpoints", lambda: flink.completed_checkpoints(stack, job.id) > 2, 120)
    for victim in (worker_of(stack, job.id, "Source"), "jobmanager"):
        stack.kill(victim)
        stack.ok("stack", "up")
    done = stack.run("replay", "resume", str(replay["number"]))
    assert done.returncode == GOOD, done.stdout + done.stderr
    # Those that were clean before are, each once, and each refused one has a letter.
    outlet.check(flow.sent)
    assert row_ids(stack, flow.sent.clean) == flow.sent.clean


def _spoil(stack: TestStack, ids: list[str]) -> None:
    url = stack.settings().elasticsearch_url.get_secret_value()
    for name, document in documents(stack, ids).items():
        httpx.post(f"{url}/{document['_index']}/_update/{name}?refresh=true", timeout=30,
                   json={"doc": {"source": "spoilt", "digest_low": 1}}).raise_for_status()
