"""`sluice savepoint`: what it says, who is written down, and what it does not accept."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from control.cli import main
from control.cli import savepoint as commands
from control.cli import savepoint_schedule as schedules
from control.lifecycle.ledger import EventRow
from control.lifecycle.open import Desk
from control.lifecycle.savepoints import Savepoint
from control.lifecycle.snapshots import take_savepoint
from control.lifecycle.words import Event, Origin, SavepointState
from control.savepoint_metadata import OperatorState, SavepointMetadata, operator_id
from tests.unit.loop_kit import LoopPlane

Output = pytest.CaptureFixture[str]


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> LoopPlane:
    found = LoopPlane(monkeypatch)

    @contextmanager
    def opened(_: object) -> Iterator[Desk]:
        yield found.desk

    held = (OperatorState(operator_id("count"), "count", "count", 1, 720, 1, 10),
            OperatorState("f" * 32, None, "Sink Committer: letters", 1, 720, 1, 10),
            OperatorState("e" * 32, None, "strange", 1, 720, 1, 10))
    monkeypatch.setattr(commands, "open_desk", opened)
    monkeypatch.setattr(schedules, "open_desk", opened)
    monkeypatch.setattr(commands, "open_stack", lambda _: SimpleNamespace(context=None))
    monkeypatch.setattr(commands, "read_metadata", lambda *_: SavepointMetadata(
        1, held, (), 10, "file:/s", 4, "savepoint", "canonical"))
    return found


def take(plane: LoopPlane) -> Savepoint:
    return take_savepoint(plane.place, "counting", plane.job.id, Origin.MANUAL)


def said(capsys: Output, *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main.run(["savepoint", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def answer(capsys: Output, *arguments: str) -> Any:
    return json.loads(said(capsys, *arguments, "--json"))


def told(plane: LoopPlane, event: Event) -> EventRow:
    [found] = plane.ledger.events(event=event)
    return found


def test_create_writes_down_who_and_why(plane: LoopPlane, capsys: Output) -> None:
    made = answer(capsys, "create", "counting", "--reason", "before the holidays")
    assert made["version"] == "1"
    event = told(plane, Event.SAVEPOINT_TAKEN)
    assert (event.savepoint, event.who, event.reason) == (
        made["number"], "ada@desk", "before the holidays")


def test_a_list_tells_the_version(plane: LoopPlane, capsys: Output) -> None:
    take(plane)
    plane.upgrade()
    take(plane)
    found = answer(capsys, "list", "counting")
    assert [(one["number"], one["version"]) for one in found] == [(3, "2"), (2, "1"), (1, "1")]
    assert "version" in said(capsys, "list").splitlines()[0]


def test_what_nobody_knows_the_version_of_is_listed(plane: LoopPlane, capsys: Output) -> None:
    one = take(plane)
    plane.savepoints.rows[one.number] = replace(one, flink_job="0" * 32, deployment=None)
    assert answer(capsys, "list")[0]["version"] is None
    assert "written by version unknown" in said(capsys, "show", str(one.number))


def test_show_tells_the_forms_and_what_was_done(plane: LoopPlane, capsys: Output) -> None:
    said(capsys, "create", "counting", "--reason", "before the holidays")
    shown = answer(capsys, "show", "1")
    assert [part["form"] for part in shown["operators"]] == [
        "count/1", "kafka-transactions/1", None]
    assert [(one["event"], one["person"], one["host"], one["reason"])
            for one in shown["events"]] == [
        ("savepoint-taken", "ada", "desk", "before the holidays")]
    text = said(capsys, "show", "1")
    assert "version 1" in text
    assert "count/1" in text
    assert "savepoint-taken by ada@desk, because: before the holidays" in text


def test_verify_writes_down_who_and_why(
    plane: LoopPlane, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[str] = []

    def verified(*_: object, reason: str) -> SavepointMetadata:
        reasons.append(reason)
        return SavepointMetadata(1, (), (), 10, "file:/s", 4, "savepoint", "canonical")

    monkeypatch.setattr(commands, "verify_savepoint", verified)
    one = take(plane)
    said(capsys, "verify", str(one.number), "--restore", "--reason", "monthly")
    assert reasons == ["monthly"]
    event = told(plane, Event.SAVEPOINT_VERIFIED)
    assert (event.savepoint, event.reason) == (one.number, "monthly")


def test_dispose_says_what_happened(plane: LoopPlane, capsys: Output) -> None:
    first, second, _ = take(plane), take(plane), take(plane)
    plane.wait(5)
    del plane.flink.files[str(second.path)]
    text = said(capsys, "dispose", "1", "2", "--reason", "the disk is full")
    assert text.splitlines() == [
        "Savepoint 1 is deleted.",
        "Savepoint 2 was gone before: Flink found no files of it. It is marked as lost.",
    ]
    assert plane.held == ["counting", "counting"]
    assert [told(plane, event).reason for event in (
        Event.SAVEPOINT_DISPOSED, Event.SAVEPOINT_LOST)] == ["the disk is full"] * 2
    assert first.path not in plane.flink.files


def test_dispose_tells_a_machine_also_of_those_before_the_refusal(
    plane: LoopPlane, capsys: Output
) -> None:
    take(plane)
    take(plane)
    assert main.run(["savepoint", "dispose", "1", "2", "--json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out) == [{"number": 1, "state": "disposed"}]
    assert "newest" in captured.err


def test_what_somebody_may_be_starting_from_is_not_deleted(
    plane: LoopPlane, capsys: Output
) -> None:
    take(plane)
    take(plane)
    plane.holders["counting"] = "ada@desk, pid 7"
    assert "ada@desk, pid 7" in said(capsys, "dispose", "1", code=3)
    assert plane.savepoints.rows[1].state is SavepointState.THERE


@pytest.mark.parametrize(("given", "problem"), [
    (["--every", "5s"], "5s is too short; at least 10s"),
    (["--every", "0s"], "too short"),
    (["--every", "soon"], "soon is no time; for example 90s"),
    (["--every", "999999999d"], "is no time"),
    (["--keep-for", "10s"], "at least 1m"),
    (["--keep-for", "never"], "no time"),
])
def test_times_that_cannot_be(
    plane: LoopPlane, capsys: Output, given: list[str], problem: str
) -> None:
    text = said(capsys, "schedule", "counting", *given, code=2)
    assert problem in " ".join(text.split())
    assert given[0] in text
    assert plane.deployments.wanted("counting")[0].savepoint_every is None


def test_a_schedule_is_shown_with_what_is_kept(plane: LoopPlane, capsys: Output) -> None:
    text = said(capsys, "schedule", "counting")
    assert "No periodic savepoints of counting" in text
    assert "Of those that a schedule made 5 are kept, for 14d; all others are kept" in text
    assert plane.ledger.events(event=Event.SCHEDULED) == []
    said(capsys, "schedule", "counting", "--every", "6h", "--reason", "as agreed")
    text = said(capsys, "schedule", "counting")
    assert "A savepoint of counting every 6h" in text
    assert "all others are kept" in text
    assert "Set by ada@desk at 20" in text
    assert "as agreed" in text


def test_a_schedule_is_changed_bit_by_bit(plane: LoopPlane, capsys: Output) -> None:
    said(capsys, "schedule", "counting", "--every", "6h", "--keep", "2")
    text = said(capsys, "schedule", "counting", "--keep-for", "30d")
    assert "Of all but those taken by hand 2 are kept, for 30d" in text
    found = answer(capsys, "schedule", "counting", "--every", "never")
    assert (found["savepoint_every"], found["keep_count"], found["keep_is_said"]) == (
        None, 2, True)
    [wanted] = plane.deployments.wanted("counting")
    assert (wanted.savepoint_every, wanted.keep_count, wanted.keep_for) == (
        None, 2, timedelta(days=30))
