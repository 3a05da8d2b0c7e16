"""Each fault that the fake of Flink can have, seen through the control plane's own client."""

from collections.abc import Callable

import pytest

from control.errors import SluiceError
from control.flink import FlinkAwayError, FlinkClient, FlinkUnknownError
from tests.kit.fake_flink import FakeFlink
from tests.kit.fake_flink_job import FakeJob

A, B = "a" * 32, "b" * 32
FIRST, SECOND = "1" * 32, "2" * 32


@pytest.fixture
def fake() -> FakeFlink:
    made = FakeFlink()
    made.timing.cache = 0
    return made


@pytest.fixture
def client(fake: FakeFlink) -> FlinkClient:
    return FlinkClient("http://flink", transport=fake)


@pytest.fixture
def job(fake: FakeFlink) -> FakeJob:
    """Yield a job that runs and has a checkpoint."""
    made = fake.submit(A, "ingest")
    fake.clock.sleep(5)
    assert made.checkpoints.completed == 1
    return made


def test_connections_are_refused(fake: FakeFlink, client: FlinkClient, job: FakeJob) -> None:
    fake.refuse_connections(2, method="POST", path=f"/jobs/{A}/st")
    for _ in range(2):
        client.jobs()
        with pytest.raises(FlinkAwayError, match="Connection refused"):
            client.stop(A, FIRST)
    assert fake.operations == {}
    client.stop(A, FIRST)
    assert len(fake.changes) == 3


def test_answers_are_lost_after_they_took_effect(
    fake: FakeFlink, client: FlinkClient, job: FakeJob
) -> None:
    fake.lose_answers(method="POST")
    with pytest.raises(FlinkAwayError, match="broke"):
        client.stop(A, FIRST)
    fake.clock.sleep(2)
    assert client.state(A) == "FINISHED"
    assert client.outcome(A, FIRST).path is not None


def test_other_answers(fake: FakeFlink, client: FlinkClient) -> None:
    fake.answer_with(503, "later", 2, path="overview")
    for _ in range(2):
        with pytest.raises(FlinkAwayError, match="later"):
            client.jobs()
    assert client.jobs() == []


@pytest.mark.parametrize("stops", [True, False])
def test_savepoints_fail_and_the_job_runs_on(
    fake: FakeFlink, client: FlinkClient, job: FakeJob, stops: bool
) -> None:
    fake.break_savepoints("java.io.IOException: No space left on device")
    begin: Callable[[str, str], None] = client.stop if stops else client.savepoint
    begin(A, FIRST)
    fake.clock.sleep(1)
    outcome = client.outcome(A, FIRST)
    assert outcome.is_over
    assert outcome.path is None
    assert "Caused by: java.io.IOException: No space left" in str(outcome.failure)
    found = client.checkpoints(A)
    assert (found.failed, found.running) == (1, 0)
    assert found.last_failure == "No space left on device"
    before = found.completed
    fake.clock.sleep(4)
    assert client.state(A) == "RUNNING"
    assert client.checkpoints(A).completed >= before + 2
    begin(A, SECOND)
    fake.clock.sleep(2)
    assert client.outcome(A, SECOND).path is not None


def test_a_savepoint_hangs_until_the_job_ends(
    fake: FakeFlink, client: FlinkClient, job: FakeJob
) -> None:
    fake.hang_savepoint()
    client.stop(A, FIRST)
    before = client.checkpoints(A).completed
    fake.clock.sleep(1000)
    assert not client.outcome(A, FIRST).is_over
    # Flink makes no checkpoints while it stops a job.
    assert client.checkpoints(A).completed == before
    client.cancel(A)
    fake.clock.sleep(2)
    assert "CheckpointCoordinator shutdown" in str(client.outcome(A, FIRST).failure)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_job_dies_after_its_savepoint(
    fake: FakeFlink, client: FlinkClient, job: FakeJob, comes_back: bool
) -> None:
    fake.die_after_savepoint(comes_back=comes_back)
    client.stop(A, FIRST)
    fake.clock.sleep(2)
    outcome = client.outcome(A, FIRST)
    assert outcome.path is None
    last = client.checkpoints(A).last_savepoint
    assert last is not None
    assert f"A savepoint has been created at: {last.path}, but the corresponding job {A}" in str(
        outcome.failure
    )
    assert client.state(A) == ("RESTARTING" if comes_back else "FAILED")
    fake.clock.sleep(5)
    assert client.state(A) == ("RUNNING" if comes_back else "FAILED")
    # Flink restarts a job from its checkpoints only.
    restored = client.checkpoints(A).restored_path
    assert restored == (f"file:/checkpoints/{A}/chk-1" if comes_back else None)


def test_a_savepoint_of_a_job_that_fails_meanwhile(
    fake: FakeFlink, client: FlinkClient, job: FakeJob
) -> None:
    client.savepoint(A, FIRST)
    fake.fail(A)
    fake.clock.sleep(1)
    assert "Task has failed" in str(client.outcome(A, FIRST).failure)
    assert client.checkpoints(A).running == 0


@pytest.mark.parametrize(("seconds", "words"), [
    (0, "JobManager is initializing"), (0.7, "is not being executed at the moment"),
    (1.5, "Not all required tasks are currently running"),
])
def test_a_job_that_does_not_run_yet_cannot_be_stopped(
    fake: FakeFlink, client: FlinkClient, seconds: float, words: str
) -> None:
    fake.submit(A, "ingest")
    fake.clock.sleep(seconds)
    client.stop(A, FIRST)
    outcome = client.outcome(A, FIRST)
    assert outcome.is_over
    assert words in str(outcome.failure)
    fake.clock.sleep(3)
    assert client.state(A) == "RUNNING"


def test_a_folder_that_cannot_be_made(
    fake: FakeFlink, client: FlinkClient, job: FakeJob
) -> None:
    client.stop(A, FIRST, folder="file:///unwritable/some/where")
    failure = client.outcome(A, FIRST).failure
    assert "Failed to create savepoint directory at file:///unwritable/some/where" in str(failure)
    assert client.state(A) == "RUNNING"


def test_a_job_fails_once_and_comes_back(
    fake: FakeFlink, client: FlinkClient, job: FakeJob
) -> None:
    fake.fail(A, "java.lang.RuntimeException: once", after=2.5)
    fake.clock.sleep(2)
    assert client.state(A) == "RUNNING"
    fake.clock.sleep(0.5)
    assert client.state(A) == "RESTARTING"
    assert client.cluster().free_slots == 9
    assert client.last_exception(A) == "java.lang.RuntimeException: once"
    fake.clock.sleep(2)
    assert client.state(A) == "RUNNING"
    assert client.job_metrics(A, ["numRestarts"]) == {"numRestarts": 1}
    assert client.checkpoints(A).restored_path == f"file:/checkpoints/{A}/chk-2"


def test_a_job_that_always_crashes(fake: FakeFlink, client: FlinkClient) -> None:
    fake.when_submitted = lambda job: fake.crash(
        job.id, "java.lang.RuntimeException: again", after=1, restarts=3
    )
    fake.submit(A, "ingest")
    fake.clock.sleep(4)
    assert client.job_metrics(A, ["numRestarts"]) == {"numRestarts": 1}
    fake.clock.sleep(20)
    assert client.state(A) == "FAILED"
    assert len(client._ask("GET", f"/jobs/{A}/exceptions")["exceptionHistory"]["entries"]) == 4
    fake.when_submitted = None
    fake.submit(B, "search")
    fake.clock.sleep(2)
    fake.crash(B)
    fake.clock.sleep(100)
    assert client.job_metrics(B, ["numRestarts"])["numRestarts"] > 20


def test_checkpoints_that_never_complete(fake: FakeFlink, client: FlinkClient) -> None:
    fake.submit(A, "ingest").completes_checkpoints = False
    fake.clock.sleep(2 + 3 * 2)
    found = client.checkpoints(A)
    assert (found.completed, found.failed, found.newest) == (0, 3, None)
    assert found.last_failure == "Checkpoint expired before completing."


def test_jobs_outlive_a_jobmanager(fake: FakeFlink, client: FlinkClient, job: FakeJob) -> None:
    ended = fake.submit(B, "search")
    fake.clock.sleep(2)
    fake.finish(ended.id)
    client.savepoint(A, FIRST)
    fake.clock.sleep(1)
    saved = client.outcome(A, FIRST).path
    client.stop(A, SECOND)
    last, started = job.kept[-1], client.details(A)["start-time"]
    fake.restart_jobmanager()
    with pytest.raises(FlinkAwayError, match="Connection refused"):
        client.jobs()
    with pytest.raises(ConnectionError):
        fake.submit("c" * 32, "other")
    fake.clock.sleep(2)
    with pytest.raises(FlinkAwayError, match="leader election"):
        client.jobs()
    fake.clock.sleep(1)
    # The job is back; what was triggered, and what had ended, is forgotten.
    assert [one.state for one in client.jobs()] == ["INITIALIZING"]
    assert client.state(B) is None
    for trigger in (FIRST, SECOND):
        with pytest.raises(FlinkUnknownError):
            client.outcome(A, trigger)
    fake.clock.sleep(2)
    found = client.checkpoints(A)
    assert (found.completed, found.newest, found.restored_path) == (0, None, last.path)
    assert saved in fake.files
    fake.clock.sleep(2)
    newest = client.checkpoints(A).newest
    assert newest is not None
    assert newest.number > last.number
    assert client.details(A)["start-time"] > started
    assert client.job_metrics(A, ["numRestarts"]) == {"numRestarts": 0}


def test_without_high_availability_jobs_do_not(
    fake: FakeFlink, client: FlinkClient, job: FakeJob
) -> None:
    fake.highly_available = False
    fake.restart_jobmanager()
    fake.clock.sleep(10)
    assert client.jobs() == []
    assert client.state(A) is None
    fake.submit(A, "ingest", savepoint=job.kept[-1].path)
    fake.clock.sleep(2)
    assert client.state(A) == "RUNNING"


def test_a_job_is_lost(fake: FakeFlink, client: FlinkClient, job: FakeJob) -> None:
    fake.forget(A)
    fake.clock.sleep(10)
    assert client.jobs() == []


def test_what_is_shown_of_checkpoints_may_be_old(
    fake: FakeFlink, client: FlinkClient, job: FakeJob
) -> None:
    fake.timing.cache = 3
    fake.clock.sleep(2.9)
    seen = client.checkpoints(A).newest
    assert seen is not None
    fake.clock.sleep(0.2)
    client.cancel(A)
    fake.clock.sleep(1)
    # One more was completed before the end: who goes on from the one seen does events twice.
    newest = fake.newest_state(A)
    assert newest is not None
    assert client.checkpoints(A).newest == seen
    assert newest.number == seen.number + 1
    # A refusal is remembered, too.
    fake.submit(B, "search")
    with pytest.raises(SluiceError, match="initializing"):
        client.checkpoints(B)
    fake.clock.sleep(2)
    with pytest.raises(SluiceError, match="initializing"):
        client.checkpoints(B)
    fake.clock.sleep(2)
    assert client.checkpoints(B).failed == 0
