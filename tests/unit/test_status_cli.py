"""`sluice status`: what counts as ill, what a failed job says, and watching it."""

from dataclasses import replace
from typing import Any

import pytest

from control.cli import main, status
from control.lifecycle.plan import How
from jobs.spec import Health
from tests.kit.fake_flink_job import FakeJob
from tests.unit.desk_kit import Office, Output, office_with, run_json
from tests.unit.lifecycle_kit import SPEC, Plane, running_plane

BROKEN = "java.lang.RuntimeException: the disk is full"


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Office:
    made = office_with(monkeypatch, running_plane())
    made.seat(status)
    return made


@pytest.fixture
def job(office: Office) -> FakeJob:
    return office.plane.flink.live("counting")[0]


def seen(capsys: Output, *, well: bool = False) -> dict[str, Any]:
    [line] = run_json(capsys, "status", "counting", code=0 if well else 1)
    assert (line["problems"] == []) is well
    return dict(line)


def test_a_job_that_is_well(office: Office, capsys: Output) -> None:
    line = seen(capsys, well=True)
    assert (line["state"], line["deployment"], line["version"]) == ("running", 1, "1")
    assert line["uptime_s"] > 0


# --- Failed ---------------------------------------------------------------------------------------


def test_one_that_failed_tells_why_in_one_line(
    office: Office, job: FakeJob, capsys: Output
) -> None:
    office.plane.flink.fail(job.id, BROKEN, restarts=False)
    line = seen(capsys)
    assert line["state"] == "failed"
    assert line["last_exception"] == BROKEN
    assert line["uptime_s"] is None
    [problem] = line["problems"]
    assert "counting failed" in problem
    assert BROKEN in problem
    assert main.run(["status"]) == 1
    table = capsys.readouterr().out.splitlines()[1]
    assert "failed" in table
    assert BROKEN in table


def test_one_that_flink_has_forgotten_only_does_not_run(
    office: Office, job: FakeJob, capsys: Output
) -> None:
    office.plane.flink.fail(job.id, BROKEN, restarts=False)
    office.plane.flink.forget(job.id)
    line = seen(capsys)
    assert line["state"] == "not running"
    assert "should run and does not" in line["problems"][0]


@pytest.mark.parametrize("how", [How.SAVEPOINT, How.NOTHING])
def test_one_that_was_ended_by_hand_is_no_failure(
    office: Office, job: FakeJob, capsys: Output, how: How
) -> None:
    office.plane.stop(how)
    # As Flink calls one that fails while it is stopped, although its savepoint is good.
    job.state = "FAILED"
    assert seen(capsys, well=True)["state"] == "not running"


def test_the_one_that_runs_counts_and_not_the_one_that_failed_before(
    office: Office, job: FakeJob, capsys: Output
) -> None:
    office.plane.flink.fail(job.id, BROKEN, restarts=False)
    office.plane.flink.submit("e" * 32, "counting")
    office.plane.wait(20)
    assert seen(capsys, well=True)["state"] == "running"


# --- Ill ------------------------------------------------------------------------------------------


def test_one_that_was_restarted(office: Office, job: FakeJob, capsys: Output) -> None:
    job.metrics["numRestarts"] = lambda one: one.restarts
    office.plane.flink.fail(job.id, BROKEN)
    office.plane.wait(30)
    [problem] = seen(capsys)["problems"]
    assert "was restarted 1 times" in problem
    assert BROKEN in problem
    office.plane.wait(7200)
    seen(capsys, well=True)


def test_more_restarts_may_be_allowed(office: Office, job: FakeJob, capsys: Output) -> None:
    office.spec = replace(SPEC, health=replace(SPEC.health, max_restarts=1))
    job.metrics["numRestarts"] = lambda one: one.restarts
    office.plane.flink.fail(job.id, BROKEN)
    office.plane.wait(30)
    seen(capsys, well=True)


def test_to_be_scaled_in_place_is_no_illness(
    office: Office, job: FakeJob, capsys: Output
) -> None:
    job.metrics["numRestarts"] = lambda one: one.restarts
    office.plane.flink.adaptive = True
    assert main.run(["scale", "counting", "2", "--yes"]) == 0
    office.plane.wait(30)
    assert seen(capsys, well=True)["restarts"] == 1


def test_one_that_refuses_too_much(office: Office, job: FakeJob, capsys: Output) -> None:
    def count(judged: int, refused: int) -> None:
        job.vertex_metrics[job.vertices[0].name] = {
            "0.op.sluice.events_in": judged, "0.op.sluice.events_refused": refused,
        }

    count(10_000, 200)
    [problem] = seen(capsys)["problems"]
    assert "refused 200 of 10,000 messages (2.0%; 1.0% is allowed)" in problem
    count(10_000, 100)
    seen(capsys, well=True)
    # The same share of a few may be chance; more than that is not.
    count(100, 2)
    seen(capsys, well=True)
    count(100, 5)
    assert "refused 5 of 100" in seen(capsys)["problems"][0]


def test_one_that_never_completed_a_checkpoint(capsys: Output, monkeypatch: pytest.MonkeyPatch
                                               ) -> None:
    plane = Plane()
    office_with(monkeypatch, plane).seat(status)

    def fail_checkpoints(job: FakeJob) -> None:
        job.completes_checkpoints = False

    plane.flink.when_submitted = fail_checkpoints
    plane.flink.submit("e" * 32, "counting")
    plane.wait(SPEC.health.max_checkpoint_age_seconds - 5)
    seen(capsys, well=True)
    plane.wait(10)
    [problem] = seen(capsys)["problems"]
    assert "completed no checkpoint in 2m 5s; the last one failed: Checkpoint expired" in problem


def test_one_whose_checkpoint_is_old(office: Office, job: FakeJob, capsys: Output) -> None:
    job.completes_checkpoints = False
    office.plane.wait(200)
    [problem] = seen(capsys)["problems"]
    assert "its last checkpoint is 3m" in problem


def test_each_illness_has_its_line(office: Office, job: FakeJob, capsys: Output) -> None:
    office.spec = replace(SPEC, health=Health(max_lag=10, judged=("events_in",),
                                              refused=("events_refused",)))
    job.vertex_metrics[job.vertices[0].name] = {
        "0.x.pendingRecords": 11, "0.events_in": 100, "0.events_refused": 50,
    }
    job.completes_checkpoints = False
    office.plane.wait(200)
    assert main.run(["status", "counting"]) == 1
    _, _, *problems = capsys.readouterr().out.splitlines()
    assert len(problems) == 3


# --- Watched --------------------------------------------------------------------------------------


def interrupt() -> None:
    raise KeyboardInterrupt


def test_watching_goes_on_while_flink_is_away_and_ends_quietly(
    office: Office, capsys: Output
) -> None:
    plane = office.plane
    plane.clock.later(3, lambda: plane.flink.refuse_connections(2))
    plane.clock.later(11, interrupt)
    assert main.run(["status", "--watch"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    looks = printed.out.split("job ")[1:]
    away = ["does not answer" in look for look in looks]
    assert True in away
    assert (away[0], away[-1]) == (False, False)
    for look in looks:
        # What was seen before stands there.
        assert "running" in look
    assert "Still watching" in printed.out


def test_watching_begins_while_flink_is_away(office: Office, capsys: Output) -> None:
    office.plane.flink.refuse_connections(2)
    office.plane.clock.later(7, interrupt)
    assert main.run(["status", "--watch"]) == 0
    out = capsys.readouterr().out
    assert "does not answer" in out
    assert "running" in out


def test_watching_shows_what_is_wrong(office: Office, job: FakeJob, capsys: Output) -> None:
    plane = office.plane
    plane.flink.fail(job.id, BROKEN, after=3, restarts=False)
    plane.clock.later(9, interrupt)
    assert main.run(["status", "--watch"]) == 0
    assert "counting failed" in capsys.readouterr().out


def test_watching_prints_no_json(office: Office, capsys: Output) -> None:
    assert main.run(["status", "--watch", "--json"]) == 2
    assert "exclude each other" in capsys.readouterr().err
