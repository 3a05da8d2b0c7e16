"""The fake of Flink behaves as Flink does, seen through the control plane's own client."""

from collections.abc import Callable

import pytest

from control.errors import SluiceError
from control.flink import FlinkAwayError, FlinkClient, FlinkConflictError, FlinkUnknownError
from control.flink_answers import Cluster, Requirement
from tests.kit.fake_clock import FakeClock
from tests.kit.fake_flink import FakeFlink
from tests.kit.fake_flink_cluster import DuplicateJobError, TwoLiveJobsError

A, B = "a" * 32, "b" * 32
FIRST, SECOND = "1" * 32, "2" * 32


@pytest.fixture
def fake() -> FakeFlink:
    return FakeFlink()


@pytest.fixture
def client(fake: FakeFlink) -> FlinkClient:
    return FlinkClient("http://flink", transport=fake)


def test_the_clock_does_what_was_planned_each_at_its_time() -> None:
    clock = FakeClock(100)
    seen: list[tuple[str, float]] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: seen.append((name, clock.now()))

    clock.later(5, note("late"))
    clock.later(1, lambda: clock.later(1, note("planned by a plan")))
    clock.later(0, note("at once"))
    clock.sleep(4)
    assert seen == [("at once", 100), ("planned by a plan", 102)]
    clock.sleep(4)
    assert seen[2:] == [("late", 105)]
    assert clock.now() == 108
    assert clock.now_ms() == 108_000
    with pytest.raises(ValueError, match="-1"):
        clock.sleep(-1)


def test_a_job_starts_step_by_step(fake: FakeFlink, client: FlinkClient) -> None:
    fake.timing.cache = 0
    job = fake.submit(A, "ingest", parallelism=2, user_config={"sluice.version": "7"})
    assert client.state(A) == "INITIALIZING"
    # So early Flink knows nothing of it but its name, and has no answer about checkpoints.
    assert client.details(A)["vertices"] == []
    assert client.user_config(A) == {}
    with pytest.raises(SluiceError, match="JobManager is initializing"):
        client.checkpoints(A)
    fake.clock.sleep(0.5)
    assert client.state(A) == "CREATED"
    assert client.user_config(A) == {"sluice.version": "7"}
    fake.clock.sleep(0.5)
    seen = []
    for last in (False, False, True):
        details = client.details(A)
        assert [one.all_run for one in client.jobs()] == [last]
        assert details["state"] == "RUNNING"
        seen += [vertex["status"] for vertex in details["vertices"]]
        fake.clock.sleep(0.5)
    assert seen == ["DEPLOYING", "INITIALIZING", "RUNNING"]
    assert client.jobs()[0].started == round(job.started * 1000)
    assert client.cluster() == Cluster("2.2.1", 3, 9, 7)
    assert client.cluster_settings()["high-availability.type"] == "zookeeper"


def test_jobs_are_listed_the_newest_first(fake: FakeFlink, client: FlinkClient) -> None:
    fake.submit(A, "ingest")
    fake.clock.sleep(1)
    fake.submit(B, "search")
    assert [job.name for job in client.jobs()] == ["search", "ingest"]
    live = client.live_job("ingest")
    assert live is not None
    assert live.id == A
    fake.clock.sleep(2)
    client.cancel(A)
    fake.clock.sleep(1)
    assert client.live_job("ingest") is None
    assert {job.id: job.is_over for job in client.jobs()} == {A: True, B: False}


def test_what_flink_does_not_know(client: FlinkClient) -> None:
    assert client.state(A) is None
    for ask in (client.details, client.user_config, client.last_exception, client.checkpoints,
                client.cancel):
        with pytest.raises(FlinkUnknownError, match=A):
            ask(A)
    with pytest.raises(FlinkUnknownError, match=FIRST):
        client.outcome(A, FIRST)
    with pytest.raises(FlinkUnknownError, match="Operation not found"):
        client.disposed(FIRST)
    with pytest.raises(SluiceError, match="Cannot resolve path parameter"):
        client.details("no-id")
    # Neither is there anything to measure, which is no error.
    assert client.job_metrics(A, ["numRestarts"]) == {}
    assert client.metric_names(A, B) == []
    assert client.vertex_metrics(A, B, ["numRecordsIn"]) == {}
    assert client.backpressure(A, B) is None


def test_flink_shows_for_a_while_what_it_has_shown(fake: FakeFlink, client: FlinkClient) -> None:
    fake.submit(A, "ingest")
    fake.clock.sleep(2)
    assert client.details(A)["state"] == "RUNNING"
    counted = client.checkpoints(A).completed
    client.cancel(A)
    fake.clock.sleep(2.9)
    # Only the list is never old.
    assert client.state(A) == "CANCELED"
    assert client.details(A)["state"] == "RUNNING"
    assert client.checkpoints(A).completed == counted
    fake.clock.sleep(0.2)
    assert client.details(A)["state"] == "CANCELED"


def test_checkpoints_are_counted_and_the_last_ones_kept(
    fake: FakeFlink, client: FlinkClient
) -> None:
    fake.submit(A, "ingest")
    fake.clock.sleep(2 + 5 * 2)
    found = client.checkpoints(A)
    assert (found.completed, found.failed, found.running) == (5, 0, 0)
    assert found.last is not None
    assert found.last.path == f"file:/checkpoints/{A}/chk-5"
    assert found.last.at == fake.clock.now_ms()
    assert found.newest == found.last
    assert (found.last_savepoint, found.last_failure, found.restored_path) == (None, None, None)
    assert sorted(fake.files) == [f"file:/checkpoints/{A}/chk-{number}" for number in (3, 4, 5)]
    assert client.job_metrics(A, ["numberOfCompletedCheckpoints"]) == {
        "numberOfCompletedCheckpoints": 5
    }


def test_a_savepoint_is_made_once_for_a_trigger(fake: FakeFlink, client: FlinkClient) -> None:
    fake.submit(A, "ingest", uids=["source"])
    fake.clock.sleep(2)
    client.savepoint(A, FIRST, "file:///kept/")
    assert not client.outcome(A, FIRST).is_over
    assert client.checkpoints(A).running == 1
    client.savepoint(A, FIRST, "file:///kept/")
    fake.clock.sleep(1)
    outcome = client.outcome(A, FIRST)
    assert outcome.path is not None
    assert outcome.path.startswith(f"file:/kept/savepoint-{A[:6]}-")
    client.savepoint(A, FIRST, "file:///kept/")
    assert client.outcome(A, FIRST) == outcome
    fake.clock.sleep(3)
    assert [one.is_savepoint for one in fake.files.values()].count(True) == 1
    last = client.checkpoints(A).last_savepoint
    assert last is not None
    assert (last.path, last.is_savepoint) == (outcome.path, True)
    # Five minutes later Flink has forgotten the trigger: the same one begins a second savepoint.
    fake.clock.sleep(300)
    with pytest.raises(FlinkUnknownError, match="no savepoint operation"):
        client.outcome(A, FIRST)
    client.savepoint(A, FIRST)
    fake.clock.sleep(1)
    assert client.outcome(A, FIRST).path != outcome.path


def test_a_stop_leaves_a_savepoint_and_no_job(fake: FakeFlink, client: FlinkClient) -> None:
    job = fake.submit(A, "ingest")
    fake.clock.sleep(5)
    client.stop(A, FIRST, drain=True)
    assert fake.operations[A, FIRST].drain
    fake.clock.sleep(1.2)
    assert job.state == "RUNNING"
    assert not client.outcome(A, FIRST).is_over
    fake.clock.sleep(1)
    outcome = client.outcome(A, FIRST)
    assert outcome.path is not None
    assert client.state(A) == "FINISHED"
    newest = client.checkpoints(A).newest
    assert newest is not None
    # Its checkpoints are gone with it, and Flink says so.
    assert list(fake.files) == [newest.path] == [outcome.path]
    assert client.checkpoints(A).last is None
    with pytest.raises(FlinkConflictError, match="FINISHED"):
        client.cancel(A)
    client.stop(A, SECOND)
    failure = client.outcome(A, SECOND).failure or ""
    assert "Could not find Flink job" in failure
    kept = fake.newest_state(A)
    assert kept is not None
    assert kept.path == outcome.path


def test_a_job_goes_on_from_a_savepoint(fake: FakeFlink, client: FlinkClient) -> None:
    fake.submit(A, "ingest", uids=["source", "sink"])
    fake.clock.sleep(5)
    client.stop(A, FIRST)
    fake.clock.sleep(2)
    path = client.outcome(A, FIRST).path
    fake.submit(B, "ingest", savepoint=path, uids=["source", "sink", "more"])
    fake.clock.sleep(4)
    found = client.checkpoints(B)
    assert found.restored_path == path
    assert found.last is not None
    assert found.last.number > 2
    lost = "c" * 32
    fake.submit(lost, "ingest", savepoint=path, uids=["source"])
    fake.submit("d" * 32, "ingest", savepoint=path, uids=["source"], allow_dropped=True)
    fake.clock.sleep(3)
    assert client.state(lost) == "FAILED"
    assert "Cannot map checkpoint/savepoint state for operator sink" in str(
        client.last_exception(lost)
    )
    assert client.state("d" * 32) == "RUNNING"
    assert [one.savepoint for one in fake.started] == [None, path, path, path]


def test_a_savepoint_that_is_not_there_fails_the_job(
    fake: FakeFlink, client: FlinkClient
) -> None:
    fake.submit(A, "ingest", savepoint="file:///nowhere")
    fake.clock.sleep(1)
    assert client.state(A) == "FAILED"
    assert client.last_exception(A) == (
        "java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory"
        " 'file:/nowhere' on file system 'file'."
    )
    fake.keep("file:///kept/one")
    fake.submit(B, "ingest", savepoint="file:/kept/one")
    fake.clock.sleep(2)
    assert client.state(B) == "RUNNING"


def test_an_id_is_taken_once(fake: FakeFlink) -> None:
    fake.submit(A, "ingest")
    with pytest.raises(DuplicateJobError, match=A):
        fake.submit(A, "other")
    fake.clock.sleep(2)
    fake.finish(A)
    # With high availability Flink deletes what it knew of an ended job, and with it the id.
    fake.submit(A, "ingest")
    assert len(fake.jobs) == 1
    fake.highly_available = False
    fake.clock.sleep(2)
    fake.finish(A)
    with pytest.raises(DuplicateJobError):
        fake.submit(A, "ingest")


def test_two_live_jobs_of_a_name_are_noticed(fake: FakeFlink) -> None:
    fake.forbid_two = True
    fake.submit(A, "ingest")
    fake.submit("c" * 32, "search")
    with pytest.raises(TwoLiveJobsError, match="ingest lives already"):
        fake.submit(B, "ingest")
    fake.fail(A, restarts=False)
    fake.submit(B, "ingest")


def test_cancelling(fake: FakeFlink, client: FlinkClient) -> None:
    fake.timing.cache = 0
    fake.submit(A, "ingest")
    fake.clock.sleep(5)
    client.cancel(A)
    assert client.state(A) == "CANCELLING"
    client.cancel(A)
    fake.clock.sleep(0.5)
    assert client.state(A) == "CANCELED"
    # Flink takes it for done; only of another end it says that it cannot be.
    client.cancel(A)
    assert f"file:/checkpoints/{A}/chk-1" in fake.files
    fake.submit(B, "ingest")
    fake.fail(B, restarts=False)
    with pytest.raises(FlinkConflictError, match="FAILED"):
        client.cancel(B)


def test_a_savepoint_is_deleted_once(fake: FakeFlink, client: FlinkClient) -> None:
    fake.keep("file:///kept/one")
    trigger = client.dispose("file:///kept/one")
    assert not client.disposed(trigger).is_over
    fake.clock.sleep(1)
    assert client.disposed(trigger).failure is None
    assert fake.files == {}
    again = client.dispose("file:///kept/one")
    assert again != trigger
    fake.clock.sleep(1)
    assert "java.io.FileNotFoundException" in str(client.disposed(again).failure)
    with pytest.raises(SluiceError, match="savepoint-path"):
        client.dispose("")


def test_metrics(fake: FakeFlink, client: FlinkClient) -> None:
    job = fake.submit(A, "ingest", parallelism=2, vertices=["Source: raw", "Sink"])
    source, sink = (vertex.id for vertex in job.vertices)
    job.metrics["uptime"] = lambda one: fake.clock.now() - one.started
    job.metrics["word"] = "none"
    job.vertex_metrics["Source: raw"] = {"pendingRecords": [3, 4.5], "version": ["2.2", "x"]}
    job.backpressure["Source: raw"] = [0.2, 0.9]
    assert client.vertex_metrics(A, source, ["pendingRecords"]) == {}
    assert client.backpressure(A, source) is None
    fake.clock.sleep(2)
    assert client.job_metrics(A, ["uptime", "numRestarts", "word", "other"]) == {
        "uptime": 2, "numRestarts": 0
    }
    names = client.metric_names(A, source)
    assert names == ["numRecordsIn", "pendingRecords", "version"]
    assert client.vertex_metrics(A, source, names) == {"numRecordsIn": 0, "pendingRecords": 7.5}
    for kind, expected in {"min": 3, "max": 4.5, "avg": 3.75}.items():
        assert client.vertex_metrics(A, source, ["pendingRecords"], kind) == {
            "pendingRecords": expected
        }
    assert client.backpressure(A, source) == 0.9
    assert client.backpressure(A, sink) == 0
    client.cancel(A)
    fake.clock.sleep(1)
    assert client.job_metrics(A, ["numRestarts"]) == {}


def test_only_the_adaptive_scheduler_rescales(fake: FakeFlink, client: FlinkClient) -> None:
    fake.timing.cache = 0
    job = fake.submit(A, "ingest", parallelism=2)
    vertex = job.vertices[0].id
    fake.clock.sleep(2)
    with pytest.raises(SluiceError, match="does not support changing the parallelism"):
        client.requirements(A)
    with pytest.raises(SluiceError, match="does not support changing the parallelism"):
        client.require(A, {vertex: Requirement(1, 4)})
    fake.adaptive = True
    assert client.requirements(A) == {vertex: Requirement(1, 2)}
    client.require(A, {vertex: Requirement(1, 40)})
    fake.clock.sleep(1)
    assert client.state(A) == "RESTARTING"
    fake.clock.sleep(3)
    assert client.details(A)["vertices"][0]["parallelism"] == 9
    assert client.cluster().free_slots == 0
    assert client.job_metrics(A, ["numRestarts"]) == {"numRestarts": 1}
    for wanted, problem in {
        Requirement(1, 800): "exceeds its maximum parallelism 720",
        Requirement(3, 2): "is higher than the upper bound", Requirement(0, 2): "greater than zero",
    }.items():
        with pytest.raises(SluiceError, match=problem):
            client.require(A, {vertex: wanted})
    with pytest.raises(SluiceError, match="was not found in the JobGraph"):
        client.require(A, {B: Requirement(1, 1)})
    with pytest.raises(SluiceError, match="does not specify"):
        client.require(A, {})
    with pytest.raises(SluiceError, match="Could not find Flink job"):
        client.requirements(B)


def test_a_job_waits_for_slots(fake: FakeFlink, client: FlinkClient) -> None:
    fake.timing.cache = 0
    fake.submit(A, "ingest", parallelism=6)
    fake.clock.sleep(2)
    fake.submit(B, "search", parallelism=4)
    fake.clock.sleep(100)
    details = client.details(B)
    assert (details["state"], details["vertices"][0]["status"]) == ("RUNNING", "SCHEDULED")
    client.cancel(A)
    fake.clock.sleep(2)
    assert client.details(B)["vertices"][0]["status"] == "RUNNING"
    fake.submit("c" * 32, "other", parallelism=6)
    fake.clock.sleep(302)
    assert "NoResourceAvailableException" in str(client.last_exception("c" * 32))


def test_all_requests_are_written_down(fake: FakeFlink, client: FlinkClient) -> None:
    client.jobs()
    assert fake.changes == []
    client.stop(A, FIRST)
    (change,) = fake.changes
    assert (change.method, change.path) == ("POST", f"/jobs/{A}/stop")
    assert change.body == {"triggerId": FIRST, "drain": False, "formatType": "CANONICAL"}
    assert fake.requests[0].path == "/jobs/overview"
    with pytest.raises(SluiceError, match="did not match expected format"):
        client.savepoint(A, "no-id")
    fake.refuse_connections()
    with pytest.raises(FlinkAwayError):
        client.jobs()
