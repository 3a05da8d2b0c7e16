"""What the control plane counts on: rules that hold for a real Flink and for the fake of the tests.

Each takes a client and a subject, and leaves to the subject to end what it has started.
"""

import uuid
from collections.abc import Callable
from typing import Protocol, TypeVar

import pytest

from control.errors import SluiceError
from control.flink import FlinkClient, FlinkConflictError, FlinkUnknownError
from control.flink_answers import Outcome, Requirement

T = TypeVar("T")


class Subject(Protocol):
    """What a rule can do beside asking Flink."""

    # Where Flink can write savepoints, and where it cannot; as file:///...
    good_folder: str
    bad_folder: str

    def start(self, savepoint: str | None = None) -> str:
        """Return the id of a job that keeps state, from a savepoint if asked to.

        Without one it may be a job that was started before and still runs.
        """

    def poison(self, job: str) -> None:
        """Let a job fail again and again, with a ValueError: a poisoned number."""

    def wait(self, what: str, condition: Callable[[], T | None]) -> T:
        """Return the first answer that is true, or fail with what did not come."""


Rule = Callable[[FlinkClient, Subject], None]


def the_cluster_tells_what_it_is(client: FlinkClient, subject: Subject) -> None:
    """Check that its version, slots and settings can be read."""
    cluster = client.cluster()
    assert cluster.version.startswith("2.")
    assert 0 <= cluster.free_slots <= cluster.slots
    assert "rest.port" in client.cluster_settings()


def a_running_job_is_listed(client: FlinkClient, subject: Subject) -> None:
    """Check that a job that runs is in the list, and that its name leads to it."""
    job = running(client, subject)
    listed = next(one for one in client.jobs() if one.id == job)
    assert (listed.state, listed.is_over) == ("RUNNING", False)
    assert listed.all_run
    assert listed.started > 0

    def shown() -> bool:
        vertices = client.details(job)["vertices"]
        return {vertex["status"] for vertex in vertices} == {"RUNNING"}

    subject.wait("shown", shown)
    live = client.live_job(listed.name)
    assert live is not None
    assert not live.is_over
    assert client.last_exception(job) is None
    assert isinstance(client.user_config(job), dict)


def an_unknown_job_is_unknown(client: FlinkClient, subject: Subject) -> None:
    """Check that Flink says when it does not know a job; to measure there is nothing."""
    job, vertex = new_id(), new_id()
    assert client.state(job) is None
    asks = (client.details, client.user_config, client.last_exception, client.checkpoints,
            client.cancel)
    for ask in asks:
        with pytest.raises(FlinkUnknownError):
            ask(job)
    assert client.job_metrics(job, ["numRestarts"]) == {}
    assert client.metric_names(job, vertex) == []
    assert client.vertex_metrics(job, vertex, ["numRecordsIn"]) == {}
    assert client.backpressure(job, vertex) is None


def an_id_that_is_none_is_refused(client: FlinkClient, subject: Subject) -> None:
    """Check that a word that is no id is not taken for a job that is not there."""
    with pytest.raises(SluiceError, match="Cannot resolve path parameter") as error:
        client.details("no-id")
    assert type(error.value) is SluiceError


def an_unknown_trigger_is_unknown(client: FlinkClient, subject: Subject) -> None:
    """Check that Flink says when something was never triggered."""
    job = running(client, subject)
    with pytest.raises(FlinkUnknownError, match="no savepoint operation"):
        client.outcome(job, new_id())
    with pytest.raises(FlinkUnknownError, match="Operation not found"):
        client.disposed(new_id())


def what_an_unknown_job_is_told_fails_later(client: FlinkClient, subject: Subject) -> None:
    """Check that a savepoint or stop is always accepted; its outcome says that there is no job."""
    for begin in (client.savepoint, client.stop):
        job, trigger = new_id(), new_id()
        begin(job, trigger)
        outcome = ended(client, subject, job, trigger)
        assert outcome.path is None
        assert f"Could not find Flink job ({job})" in str(outcome.failure)


def a_job_is_measured(client: FlinkClient, subject: Subject) -> None:
    """Check that metrics that are there are numbers, and that others are left out."""
    job = running(client, subject)
    found = subject.wait("measured", lambda: client.job_metrics(job, ["numRestarts", "nothing"]))
    assert found == {"numRestarts": 0}
    vertex = str(client.details(job)["vertices"][0]["id"])
    # Those of the task come a while after those of the operators in it.
    subject.wait("named", lambda: "numRecordsIn" in client.metric_names(job, vertex))
    share = subject.wait("weighed", lambda: some(client.backpressure(job, vertex)))[0]
    assert 0 <= share <= 1


def checkpoints_are_counted(client: FlinkClient, subject: Subject) -> None:
    """Check that checkpoints go on, and that the last one says where it lies."""
    job = running(client, subject)
    first = subject.wait("a checkpoint", lambda: client.checkpoints(job).last)
    assert first.path.endswith(f"/{job}/chk-{first.number}")
    assert first.path.startswith("file:/")
    assert not first.path.startswith("file://")
    assert (first.at > 0, first.size > 0, first.is_savepoint) == (True, True, False)

    def later() -> bool:
        last = client.checkpoints(job).last
        return last is not None and last.number > first.number + 1 and last.at > first.at

    assert subject.wait("two more checkpoints", later)


def a_savepoint_completes_with_a_path(client: FlinkClient, subject: Subject) -> None:
    """Check that a savepoint's outcome says where it lies, and that the job runs on."""
    job, trigger = running(client, subject), new_id()
    client.savepoint(job, trigger, subject.good_folder)
    outcome = ended(client, subject, job, trigger)
    assert outcome.failure is None
    # Asked for by file:///a, it lies at file:/a.
    folder = f"file:/{subject.good_folder.removeprefix('file:').strip('/')}"
    assert str(outcome.path).startswith(f"{folder}/savepoint-{job[:6]}-")
    assert subject.wait("counted", lambda: last_savepoint(client, job) == outcome.path)
    assert client.state(job) == "RUNNING"


def a_trigger_makes_one_savepoint(client: FlinkClient, subject: Subject) -> None:
    """Check that the same trigger again is accepted and begins nothing, during and after."""
    job, trigger = running(client, subject), new_id()
    for _ in range(2):
        client.savepoint(job, trigger, subject.good_folder)
    outcome = ended(client, subject, job, trigger)
    assert outcome.path is not None
    subject.wait("counted", lambda: last_savepoint(client, job) == outcome.path)
    client.savepoint(job, trigger, subject.good_folder)
    assert client.outcome(job, trigger) == outcome
    done = client.checkpoints(job).completed
    subject.wait("two more checkpoints", lambda: client.checkpoints(job).completed > done + 1)
    assert last_savepoint(client, job) == outcome.path


def a_stop_finishes_the_job(client: FlinkClient, subject: Subject) -> None:
    """Check that a stop leaves a savepoint, the newest state, and a job that is FINISHED."""
    job, path = stopped(client, subject)
    assert client.state(job) == "FINISHED"
    subject.wait("shown", lambda: client.details(job)["state"] == "FINISHED")
    subject.wait("counted", lambda: last_savepoint(client, job) == path)
    newest = client.checkpoints(job).newest
    assert newest is not None
    assert newest.path == path
    assert client.live_job("no such job") is None


def what_is_over_cannot_be_ended(client: FlinkClient, subject: Subject) -> None:
    """Check that to cancel a finished job is a conflict, and that to stop it fails later."""
    job, _ = stopped(client, subject)

    def conflict() -> bool:
        try:
            client.cancel(job)
        except FlinkConflictError as error:
            return "another terminal state (FINISHED)" in error.message
        # For a moment Flink still has what ran the job.
        return False

    subject.wait("a conflict", conflict)
    trigger = new_id()
    client.stop(job, trigger)
    outcome = ended(client, subject, job, trigger)
    assert "Could not find Flink job" in str(outcome.failure)


def a_job_goes_on_from_its_savepoint(client: FlinkClient, subject: Subject) -> None:
    """Check that a job tells what it was started from, and numbers its checkpoints after it."""
    job, path = stopped(client, subject)
    saved = subject.wait("counted", lambda: client.checkpoints(job).last_savepoint)
    successor = running(client, subject, path)
    assert successor != job
    assert subject.wait("restored", lambda: client.checkpoints(successor).restored_path) == path
    last = subject.wait("a checkpoint", lambda: client.checkpoints(successor).last)
    assert last.number > saved.number


def a_cancelled_job_leaves_its_checkpoints(client: FlinkClient, subject: Subject) -> None:
    """Check that to cancel twice is no conflict, and that the last checkpoint can be used."""
    job = running(client, subject)
    subject.wait("a checkpoint", lambda: client.checkpoints(job).last)
    client.cancel(job)
    subject.wait("cancelled", lambda: client.state(job) == "CANCELED")
    client.cancel(job)
    subject.wait("shown", lambda: client.details(job)["state"] == "CANCELED")
    newest = client.checkpoints(job).newest
    assert newest is not None
    successor = running(client, subject, newest.path)
    assert subject.wait("restored", lambda: client.checkpoints(successor).restored_path) == (
        newest.path
    )


def a_savepoint_into_a_bad_folder_fails(client: FlinkClient, subject: Subject) -> None:
    """Check that it ends as completed, with a failure, and that the job runs on."""
    job = running(client, subject)
    for stops in (False, True):
        trigger = new_id()
        if stops:
            client.stop(job, trigger, folder=subject.bad_folder)
        else:
            client.savepoint(job, trigger, subject.bad_folder)
        outcome = ended(client, subject, job, trigger)
        assert outcome.path is None
        assert "CheckpointException" in str(outcome.failure)
        assert "Failed to create savepoint directory" in str(outcome.failure)
        assert client.state(job) == "RUNNING"
    trigger = new_id()
    client.savepoint(job, trigger, subject.good_folder)
    assert ended(client, subject, job, trigger).path is not None


def a_savepoint_is_deleted_once(client: FlinkClient, subject: Subject) -> None:
    """Check that a deleted savepoint is gone: to delete it again fails."""
    job, trigger = running(client, subject), new_id()
    client.savepoint(job, trigger, subject.good_folder)
    path = ended(client, subject, job, trigger).path
    assert path is not None
    assert disposed(client, subject, path) == Outcome(is_over=True)
    failure = str(disposed(client, subject, path).failure)
    assert "Cannot find" in failure
    assert "FileNotFoundException" in failure


def only_the_adaptive_scheduler_rescales(client: FlinkClient, subject: Subject) -> None:
    """Check that without it the question is an error, not one about a missing job."""
    job = running(client, subject)
    vertices = {str(one["id"]) for one in client.details(job)["vertices"]}
    if client.cluster_settings().get("jobmanager.scheduler", "").lower() == "adaptive":
        assert set(client.requirements(job)) == vertices
        return
    with pytest.raises(SluiceError, match="does not support changing the parallelism") as error:
        client.requirements(job)
    assert not isinstance(error.value, FlinkUnknownError)
    with pytest.raises(SluiceError, match="does not support changing the parallelism"):
        client.require(job, dict.fromkeys(vertices, Requirement(1, 1)))


def a_failing_job_is_restarted_and_tells_why(client: FlinkClient, subject: Subject) -> None:
    """Check that restarts are counted, that the exception is told in a line, also after the end."""
    job = running(client, subject)
    subject.poison(job)

    def restarts() -> float:
        return client.job_metrics(job, ["numRestarts"]).get("numRestarts", 0)

    subject.wait("restarted", restarts)
    why = subject.wait("told", lambda: client.last_exception(job))
    assert why.endswith("ValueError: a poisoned number")
    assert "\n" not in why
    states: set[str | None] = set()

    def seen() -> bool:
        states.add(client.state(job))
        return {"RESTARTING", "RUNNING"} <= states

    subject.wait("restarting and running", seen)
    assert states == {"RESTARTING", "RUNNING"}
    client.cancel(job)
    subject.wait("cancelled", lambda: client.state(job) == "CANCELED")
    assert client.last_exception(job) == why


CONTRACT: list[Rule] = [
    the_cluster_tells_what_it_is,
    a_running_job_is_listed,
    an_unknown_job_is_unknown,
    an_id_that_is_none_is_refused,
    an_unknown_trigger_is_unknown,
    what_an_unknown_job_is_told_fails_later,
    a_job_is_measured,
    checkpoints_are_counted,
    a_savepoint_completes_with_a_path,
    a_trigger_makes_one_savepoint,
    a_savepoint_into_a_bad_folder_fails,
    a_savepoint_is_deleted_once,
    only_the_adaptive_scheduler_rescales,
    a_stop_finishes_the_job,
    what_is_over_cannot_be_ended,
    a_job_goes_on_from_its_savepoint,
    a_cancelled_job_leaves_its_checkpoints,
    a_failing_job_is_restarted_and_tells_why,
]


def new_id() -> str:
    """Return an id that nobody has."""
    return uuid.uuid4().hex


def running(client: FlinkClient, subject: Subject, savepoint: str | None = None) -> str:
    """Start a job and wait until all of its tasks run."""
    job = subject.start(savepoint)
    subject.wait("all tasks running", lambda: (found := client.job(job)) and found.all_run)
    return job


def stopped(client: FlinkClient, subject: Subject) -> tuple[str, str]:
    """Start a job and stop it; return its id and where its savepoint lies."""
    job, trigger = running(client, subject), new_id()
    client.stop(job, trigger, folder=subject.good_folder)
    outcome = ended(client, subject, job, trigger)
    assert outcome.path is not None, outcome.failure
    subject.wait("ended", lambda: client.state(job) == "FINISHED")
    assert client.outcome(job, trigger) == outcome
    return job, outcome.path


def ended(client: FlinkClient, subject: Subject, job: str, trigger: str) -> Outcome:
    """Wait for the outcome of a savepoint or a stop."""
    return subject.wait("a savepoint's end", lambda: over(client.outcome(job, trigger)))


def disposed(client: FlinkClient, subject: Subject, path: str) -> Outcome:
    """Delete a savepoint; return what came of it."""
    trigger = client.dispose(path)
    return subject.wait("a deletion's end", lambda: over(client.disposed(trigger)))


def over(outcome: Outcome) -> Outcome | None:
    """Return an outcome that is final."""
    return outcome if outcome.is_over else None


def some(value: float | None) -> list[float]:
    """Return a value that may be 0 as something to wait for."""
    return [] if value is None else [value]


def last_savepoint(client: FlinkClient, job: str) -> str | None:
    """Return where a job's last savepoint lies."""
    last = client.checkpoints(job).last_savepoint
    return None if last is None else last.path
