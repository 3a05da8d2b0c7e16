"""The control plane's tables on both kinds of server: written, read, and asked twice."""

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from control.database import connect, person
from control.errors import RefusedError
from control.lifecycle.book import Book
from control.lifecycle.deployments import Deployments, Release
from control.lifecycle.hold import Hold
from control.lifecycle.ledger import Ledger
from control.lifecycle.run import NotHeldError
from control.lifecycle.savepoints import Savepoints
from control.lifecycle.words import (
    DeploymentState,
    Desired,
    Event,
    Kind,
    OperationState,
    Origin,
    SavepointState,
    Step,
)
from tests.kit.databases import SERVERS, fresh_database

RELEASE = Release("counting", "a" * 64, "abc", {"name": "counting"}, {"x": 1}, 2)


@pytest.fixture(scope="module", params=SERVERS)
def dsn(request: pytest.FixtureRequest) -> Iterator[SecretStr]:
    with fresh_database(request.param, "lifecycle") as found:
        yield found


@pytest.fixture
def book(dsn: SecretStr) -> Iterator[Book]:
    with connect(dsn) as connection:
        connection.execute(
            "TRUNCATE control.operations, control.operation_steps, control.deployments,"
            " control.savepoints, control.jobs, control.job_events, control.leases"
        )
    with Book(dsn) as opened:
        yield opened


def test_one_operation_at_a_time(book: Book) -> None:
    ledger = Ledger(book)
    first = ledger.begin("counting", Kind.UPGRADE, {"a": [1]}, "because")
    with pytest.raises(RefusedError, match=f"upgrade {first.number} of counting"):
        ledger.begin("counting", Kind.STOP, {}, "")
    other = ledger.begin("other", Kind.STOP, {}, "")
    ledger.end(first.number, OperationState.DONE, "good")
    ledger.begin("counting", Kind.STOP, {}, "")
    assert ledger.operation(first.number) is not None
    found = ledger.history("counting", 10)
    assert [one.kind for one in found] == [Kind.STOP, Kind.UPGRADE]
    assert found[1].outcome == "good"
    assert found[1].plan == {"a": [1]}
    assert found[1].ended_at is not None
    assert ledger.unfinished("other") == other


def test_an_operation_ends_once(book: Book) -> None:
    ledger = Ledger(book)
    number = ledger.begin("counting", Kind.UPGRADE, {}, "").number
    ledger.end(number, OperationState.FAILED, "bad")
    ledger.end(number, OperationState.DONE, "good")
    found = ledger.operation(number)
    assert found is not None
    assert (found.state, found.outcome) == (OperationState.FAILED, "bad")


def test_what_was_refused_is_in_nobodys_way(book: Book) -> None:
    ledger = Ledger(book)
    ledger.refuse("counting", Kind.UPGRADE, {"a": 1}, "a test", "the topics are missing")
    [one] = ledger.history("counting", 10)
    assert (one.state, one.outcome) == (OperationState.REFUSED, "the topics are missing")
    assert one.ended_at is not None
    assert ledger.unfinished("counting") is None
    assert ledger.begin("counting", Kind.UPGRADE, {}, "").number > one.number


def test_steps_in_their_order(book: Book) -> None:
    ledger = Ledger(book)
    number = ledger.begin("counting", Kind.UPGRADE, {}, "").number
    for step in (Step.SUSPEND, Step.START):
        ledger.intend(number, step, {"trigger": step.value})
        # Its answer may have been lost.
        ledger.intend(number, step, {"trigger": "another"})
    ledger.end_step(number, Step.SUSPEND, {"path": "file:/x"}, good=True)
    ledger.end_step(number, Step.START, {"error": "no"}, good=False)
    rows = ledger.steps(number)
    assert [(row.step, row.state) for row in rows] == [
        (Step.SUSPEND, "done"), (Step.START, "failed"),
    ]
    assert rows[0].intention == {"trigger": "suspend"}
    assert rows[1].result == {"error": "no"}


def test_events(book: Book) -> None:
    ledger = Ledger(book)
    number = ledger.begin("counting", Kind.UPGRADE, {}, "").number
    ledger.tell("counting", Event.STARTED, "first", number)
    ledger.tell("counting", Event.HEALTHY, "second")
    assert [row.detail for row in ledger.events("counting")] == ["first", "second"]
    assert [row.event for row in ledger.events(operation=number)] == [Event.STARTED]
    taken = Savepoints(book).begin("counting", "1" * 32, "t1", Origin.MANUAL, None)
    ledger.tell("counting", Event.SAVEPOINT_TAKEN, "third", savepoint=taken, reason="because")
    [row] = ledger.events(savepoint=taken)
    assert (row.detail, row.reason, row.savepoint) == ("third", "because", taken)
    assert row.who == f"{person()}@{socket.gethostname()}"
    assert ledger.events("counting", event=Event.SAVEPOINT_TAKEN) == [row]
    assert [row.detail for row in ledger.events("counting", limit=2)] == ["second", "third"]


def test_deployments(book: Book) -> None:
    operation = Ledger(book).begin("counting", Kind.DEPLOY, {}, "").number
    deployments = Deployments(book)
    first = deployments.add(RELEASE, operation, "1" * 32, None)
    assert deployments.add(RELEASE, operation, "1" * 32, None) == first
    second = deployments.add(RELEASE.at(3), operation, "2" * 32, "file:/y")
    deployments.set_state(first, DeploymentState.ENDED)
    deployments.set_state(second, DeploymentState.LIVE)
    deployments.set_graph(second, {"mode": "thread", "operators": []})
    live = deployments.live("counting")
    assert live is not None
    assert live.number == second
    assert live.release == RELEASE.at(3)
    assert live.graph == {"mode": "thread", "operators": []}
    assert deployments.of_flink_job("1" * 32) == deployments.get(first)
    assert deployments.begun_as("111") == [deployments.get(first)]
    assert deployments.begun_as("3") == []
    good = deployments.last_good("counting", second)
    assert good is not None
    assert good.number == first
    assert [one.number for one in deployments.all("counting")] == [second, first]
    deployments.set_parallelism(second, 4)
    changed = deployments.get(second)
    assert changed is not None
    assert changed.release.parallelism == 4


def test_what_is_wanted(book: Book) -> None:
    deployments = Deployments(book)
    deployments.want("counting", Desired.RUNNING)
    [wanted] = deployments.wanted("counting")
    assert (wanted.savepoint_every, wanted.keep_count, wanted.keep_for) == (None, None, None)
    deployments.schedule("counting", timedelta(minutes=5), 3, timedelta(days=2))
    deployments.want("counting", Desired.STOPPED)
    [wanted] = deployments.wanted("counting")
    assert wanted.desired is Desired.STOPPED
    assert wanted.savepoint_every == timedelta(minutes=5)
    assert (wanted.keep_count, wanted.keep_for) == (3, timedelta(days=2))
    assert deployments.wanted() == [wanted]


def test_savepoints(book: Book) -> None:
    savepoints = Savepoints(book)
    number = savepoints.begin("counting", "1" * 32, "t1", Origin.UPGRADE, None)
    assert savepoints.begin("counting", "1" * 32, "t1", Origin.UPGRADE, None) == number
    assert [one.number for one in savepoints.pending("counting")] == [number]
    savepoints.complete("t1", "file:/a", 10)
    savepoints.fail("t1", "too late")
    failed = savepoints.begin("counting", "1" * 32, "t2", Origin.PERIODIC, None)
    savepoints.fail("t2", "no room")
    kept = savepoints.adopt("counting", "1" * 32, "file:/c", Origin.CHECKPOINT, None, None, 5)
    assert savepoints.adopt("counting", "1" * 32, "file:/c", Origin.CHECKPOINT, None, None,
                            5) == kept
    there = savepoints.all("counting", there_only=True)
    assert [one.number for one in there] == [kept, number]
    found = savepoints.get(failed)
    assert found is not None
    assert (found.state, found.note) == (SavepointState.FAILED, "no room")
    savepoints.verified(number, "read", 12)
    first = savepoints.at("file:/a")
    assert first is not None
    assert (first.size, first.verified) == (12, "read")
    assert savepoints.at("file:///a/") == first
    assert [one.number for one in savepoints.of_flink_job("1" * 32)] == [kept, failed, number]
    assert savepoints.of_flink_job("2" * 32) == []
    savepoints.set_state(kept, SavepointState.LOST, "gone")
    assert [one.number for one in savepoints.all("counting", there_only=True)] == [number]


def test_a_job_is_held_by_one(dsn: SecretStr) -> None:
    with Hold(dsn, "counting") as held:
        with pytest.raises(RefusedError, match="job counting"), Hold(dsn, "counting"):
            pass
        held.check()
        with Hold(dsn, "other"):
            pass
    with Hold(dsn, "counting"):
        pass


def test_who_was_paused_too_long_is_told_before_he_acts(dsn: SecretStr) -> None:
    with Hold(dsn, "counting") as paused:
        paused.check()
        with connect(dsn) as connection:
            # As it is half a minute after the last sign of life.
            connection.execute("UPDATE control.leases SET expires_at = clock_timestamp()"
                               " - interval '1 second' WHERE name = 'job counting'")
        with Hold(dsn, "counting") as other:
            with pytest.raises(NotHeldError, match="no longer holds the job counting"):
                paused.check()
            other.check()
