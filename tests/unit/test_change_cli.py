"""`sluice deploy`, `upgrade`, `rollback`, `scale`: what is shown, asked and refused."""

import sys
from dataclasses import replace
from typing import Any

import click
import pytest

from control.cli import main
from control.lifecycle.plan import How
from control.lifecycle.words import Kind, OperationState
from jobs.spec import StatePart
from tests.unit.desk_kit import Office, Output, office_with, run_json
from tests.unit.lifecycle_kit import SPEC, Plane, last_operation, running_plane


@pytest.fixture
def plane() -> Plane:
    return running_plane()


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch, plane: Plane) -> Office:
    return office_with(monkeypatch, plane)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let somebody sit at a terminal who says no."""
    questions: list[str] = []

    def no(text: str, *, abort: bool) -> None:
        questions.append(text)
        raise click.Abort

    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    monkeypatch.setattr(click, "confirm", no)
    return questions


# --- Refused --------------------------------------------------------------------------------------


def test_a_refusal_names_all_that_is_bad(office: Office, capsys: Output) -> None:
    office.facts = {"flink_version": "2.3.0", "missing_topics": ("numbers",)}
    assert main.run(["upgrade", "counting", "--yes"]) == 3
    error = capsys.readouterr().err
    assert "of counting is refused: cluster: Flink 2.3.0; topics: missing: numbers." in error
    assert "cluster: Use a cluster of Flink 2.2.x. topics: `sluice stack up`" in error


def test_one_bad_check_has_one_way_out(office: Office, capsys: Output) -> None:
    office.facts = {"flink_version": "2.3.0"}
    assert main.run(["upgrade", "counting", "--yes"]) == 3
    assert "Do: Use a cluster of Flink 2.2.x." in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--yes"], ["--dry-run"]])
def test_a_refusal_is_json_too(office: Office, capsys: Output, more: list[str]) -> None:
    office.facts = {"flink_version": "2.3.0", "missing_topics": ("numbers",)}
    told = run_json(capsys, "upgrade", "counting", *more, code=3)
    assert told["refused"].startswith("upgrade of counting is refused: cluster")
    bad = [check["name"] for check in told["checks"] if check["verdict"] == "bad"]
    assert bad == ["cluster", "topics"]
    assert told["plan"]["release"]["version"] == "2"
    last = last_operation(office.plane)
    if more == ["--dry-run"]:
        assert last.kind is Kind.DEPLOY
    else:
        # Whoever looks for it later finds that it was tried.
        assert (last.kind, last.state) == (Kind.UPGRADE, OperationState.REFUSED)
        assert last.outcome == told["refused"]


def test_what_is_refused_before_there_is_a_plan_is_json_too(
    office: Office, capsys: Output
) -> None:
    told = run_json(capsys, "deploy", "counting", code=3)
    assert told == {"plan": None, "checks": [], "refused": told["refused"], "hint": told["hint"]}
    assert "is there already" in told["refused"]


def test_what_is_taken_back_is_json_too(office: Office, capsys: Output) -> None:
    office.plane.flink.when_submitted = lambda job: (
        office.plane.flink.crash(job.id, restarts=0) if job.user_config["version"] == "2" else None
    )
    told = run_json(capsys, "upgrade", "counting", "--yes", code=1)
    assert "was taken back" in told["failed"]
    assert "sluice history show" in told["hint"]


@pytest.mark.parametrize("words", [
    ["upgrade", "counting"], ["rollback", "counting"], ["scale", "counting", "2"],
    ["deploy", "counting", "--fresh"],
])
def test_json_asks_nothing(
    office: Office, capsys: Output, asked: list[str], words: list[str]
) -> None:
    before = len(office.plane.ledger.operations)
    assert main.run([*words, "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "--json prints JSON and asks nothing" in printed.err
    assert "--yes" in printed.err
    assert asked == []
    assert len(office.plane.ledger.operations) == before


def test_json_of_a_change_that_is_done(office: Office, capsys: Output) -> None:
    told = run_json(capsys, "upgrade", "counting", "--yes")
    assert (told["job"], told["version"]) == ("counting", "2")
    assert office.plane.live_version() == "2"


# --- Asked ----------------------------------------------------------------------------------------


def test_no_means_that_nothing_was_changed(
    office: Office, capsys: Output, asked: list[str]
) -> None:
    assert main.run(["upgrade", "counting"]) == 1
    assert asked == ["Go on?"]
    error = capsys.readouterr().err
    assert "Nothing was changed." in error
    assert "stack" not in error
    assert office.plane.live_version() == "1"


# --- Fresh ----------------------------------------------------------------------------------------


@pytest.fixture
def stopped(office: Office) -> Office:
    """Return an office whose job was stopped an hour ago."""
    office.plane.stop()
    office.plane.wait(3600)
    return office


def given_up(office: Office, text: str) -> None:
    [savepoint] = office.plane.savepoints.rows.values()
    assert f"state in {savepoint.path} is given up ({savepoint.size:,} bytes, 1:00:0" in text
    for part in SPEC.state:
        assert f"{part.uid} ({part.what})" in text


def test_fresh_names_what_is_given_up_and_asks(
    stopped: Office, capsys: Output, asked: list[str]
) -> None:
    assert main.run(["deploy", "counting", "--fresh"]) == 1
    assert asked == ["Go on?"]
    given_up(stopped, capsys.readouterr().out.replace("The state", "the state"))
    assert stopped.plane.flink.live("counting") == []


def test_fresh_without_anybody_to_ask(stopped: Office, capsys: Output) -> None:
    assert main.run(["deploy", "counting", "--fresh"]) == 2
    assert "Nobody can be asked" in capsys.readouterr().err
    assert stopped.plane.flink.live("counting") == []


def test_fresh_with_yes_warns_and_starts(stopped: Office, capsys: Output) -> None:
    assert main.run(["deploy", "counting", "--fresh", "--yes"]) == 0
    out = capsys.readouterr().out
    given_up(stopped, out.replace("The state", "the state"))
    assert out.count("is given up") == 1
    assert stopped.plane.flink.live("counting")[0].savepoint is None


def test_fresh_says_it_in_json(stopped: Office, capsys: Output) -> None:
    dry = run_json(capsys, "deploy", "counting", "--fresh", "--dry-run")
    given_up(stopped, dry["plan"]["note"])
    told = run_json(capsys, "deploy", "counting", "--fresh", "--yes")
    given_up(stopped, told["note"])


def test_fresh_where_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, asked: list[str]
) -> None:
    office_with(monkeypatch, Plane())
    assert main.run(["deploy", "counting", "--fresh"]) == 1
    assert asked == ["Go on?"]
    assert "No earlier state is known." in capsys.readouterr().out


def test_the_state_of_a_cancelled_job_is_given_up(office: Office, capsys: Output) -> None:
    office.plane.stop(How.NOTHING)
    told = run_json(capsys, "deploy", "counting", "--fresh", "--dry-run")
    assert "the state in file:/checkpoints/" in told["plan"]["note"]


def test_a_plain_deploy_asks_nothing(stopped: Office, asked: list[str]) -> None:
    assert main.run(["deploy", "counting"]) == 0
    assert asked == []
    assert stopped.plane.flink.live("counting")[0].savepoint is not None


# --- Scaled in place ------------------------------------------------------------------------------


@pytest.fixture
def adaptive(office: Office) -> Office:
    office.plane.flink.adaptive = True
    return office


def changes(office: Office) -> list[Any]:
    return [one for one in office.plane.flink.changes if one.method == "PUT"]


def test_a_dry_run_shows_the_plan_in_place(adaptive: Office, capsys: Output) -> None:
    assert main.run(["scale", "counting", "2", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "2 tasks in place" in out
    assert "savepoint" not in out
    assert changes(adaptive) == []
    told = run_json(capsys, "scale", "counting", "2", "--dry-run")
    assert told["plan"]["in_place"] is True
    assert {check["verdict"] for check in told["checks"]} == {"good"}


def test_scaled_in_place_it_says_so_in_json(adaptive: Office, capsys: Output) -> None:
    told = run_json(capsys, "scale", "counting", "2", "--yes")
    assert told["in_place"] is True
    assert (told["job"], told["parallelism"], told["deployment"]) == ("counting", 2, 1)
    assert adaptive.plane.flink.live("counting")[0].parallelism == 2


def test_without_the_adaptive_scheduler_a_savepoint_is_planned(
    office: Office, capsys: Output
) -> None:
    assert main.run(["scale", "counting", "2", "--dry-run"]) == 0
    assert "with a savepoint" in capsys.readouterr().out


def test_too_few_slots_are_refused_in_place(adaptive: Office, capsys: Output) -> None:
    told = run_json(capsys, "scale", "counting", "10", "--yes", code=3)
    assert "slots: 10 needed, 9 there" in told["refused"]
    assert told["plan"]["in_place"] is True
    assert changes(adaptive) == []


def test_more_than_the_maximum_is_refused_in_place(adaptive: Office, capsys: Output) -> None:
    adaptive.plane.flink.slots = 1000
    told = run_json(capsys, "scale", "counting", "721", "--yes", code=3)
    assert "maximum parallelism: less than 721: Source: counting 720" in told["refused"]
    assert changes(adaptive) == []


def test_what_does_not_run_is_not_scaled_in_place(adaptive: Office, capsys: Output) -> None:
    plane = adaptive.plane
    plane.flink.timing.restart = 60
    plane.flink.fail(plane.flink.live("counting")[0].id)
    told = run_json(capsys, "scale", "counting", "2", "--yes", code=3)
    assert "running job: restarting, not all of it runs" in told["refused"]
    assert changes(adaptive) == []


def test_scaling_in_place_is_asked_for(adaptive: Office, asked: list[str]) -> None:
    assert main.run(["scale", "counting", "2"]) == 1
    assert asked == ["Go on?"]
    assert changes(adaptive) == []


# --- Back -----------------------------------------------------------------------------------------


def test_back_to_what_runs_is_refused(office: Office, capsys: Output) -> None:
    office.plane.upgrade()
    assert main.run(["rollback", "counting", "--to", "2", "--yes"]) == 3
    error = capsys.readouterr().err
    assert "is what runs" in error
    assert "--deployments" in error


def test_back_to_one_that_failed_is_warned_of(office: Office, capsys: Output) -> None:
    office.plane.flink.when_submitted = lambda job: (
        office.plane.flink.crash(job.id, restarts=0) if job.user_config["version"] == "2" else None
    )
    assert main.run(["upgrade", "counting", "--yes"]) == 1
    capsys.readouterr()
    assert main.run(["rollback", "counting", "--to", "2", "--dry-run"]) == 0
    assert "Deployment 2 had failed; it goes on from the state of now" in capsys.readouterr().out
    told = run_json(capsys, "rollback", "counting", "--to", "2", "--dry-run")
    assert told["plan"]["note"].startswith("deployment 2 had failed")


def test_what_is_processed_again_is_said_in_json(office: Office, capsys: Output) -> None:
    count = StatePart("count", "count/2", "", ("count/1",))
    office.spec = replace(SPEC, state=(SPEC.state[0], count))
    assert main.run(["upgrade", "counting", "--yes", "--allow-dropped"]) == 0
    told = run_json(capsys, "rollback", "counting", "--dry-run")
    assert "NOT harmless" in told["plan"]["note"]


@pytest.mark.parametrize("words", [["rollback", "counting"], ["scale", "counting", "2"]])
def test_what_cannot_be_stopped_is_changed_all_the_same(
    office: Office, words: list[str]
) -> None:
    assert main.run(["upgrade", "counting", "--yes"]) == 0
    assert main.run([*words, "--yes", "--strategy", "last-state", "--max-age", "60"]) == 0
    suspend = last_operation(office.plane).plan["suspend"]
    assert suspend["how"] == How.LAST_CHECKPOINT
    assert suspend["max_age_seconds"] == 60


def test_what_does_not_run_is_rolled_back_as_well(office: Office, capsys: Output) -> None:
    assert main.run(["upgrade", "counting", "--yes"]) == 0
    office.plane.stop()
    told = run_json(capsys, "rollback", "counting", "--yes")
    assert told["version"] == "1"
    assert office.plane.live_version() == "1"
