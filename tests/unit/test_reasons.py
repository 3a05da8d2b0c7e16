"""What a person gives as --reason stands in the history, whatever the command."""

from typing import Any

import pytest

from control.cli import main, replay, replay_shadow
from control.lanes.findings import SwapFindings
from control.lifecycle import perform
from control.lifecycle.replay_plan import replay_job
from control.lifecycle.words import Event
from tests.unit.desk_kit import Output, office_with, run_json
from tests.unit.lifecycle_kit import KilledError, running_plane
from tests.unit.replay_kit import ReplayPlane

WHY = "the wrong rates of May"


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> ReplayPlane:
    """Return a plane on which replays are commanded as a person does."""
    made = ReplayPlane()
    office = office_with(monkeypatch, made)
    for module in (replay, replay_shadow):
        office.seat(module)
    monkeypatch.setattr(perform, "ReplayOutlets", lambda *_: made.outlets)
    monkeypatch.setattr(replay_shadow, "ReplayOutlets", lambda *_: made.outlets)
    monkeypatch.setattr(replay_shadow, "swaps_cut_off", lambda *_: [])
    return made


def told(plane: ReplayPlane, event: Event) -> str:
    [found] = [one.detail for one in plane.ledger.events(replay_job("counting"))
               if one.event is event]
    return found


@pytest.mark.parametrize(("words", "event"), [
    (["resume", "2"], Event.RESUMED), (["cancel", "2"], Event.RESUMED),
])
def test_a_replay_that_is_taken_up(plane: ReplayPlane, words: list[str], event: Event) -> None:
    plane.kill_at = "start-done"
    with pytest.raises(KilledError):
        plane.replay()
    assert main.run(["replay", *words, "--reason", WHY]) == 0
    assert told(plane, event).endswith(f"(why: {WHY})")


def test_a_shadow_that_is_dropped(plane: ReplayPlane) -> None:
    plane.replay()
    assert main.run(["replay", "drop", "2", "--reason", WHY]) == 0
    assert told(plane, Event.DROPPED).endswith(f"is deleted. (why: {WHY})")


class _Written:
    """A connection that remembers what was written."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def execute(self, _statement: bytes, values: list[Any]) -> None:
        self.values = values


@pytest.mark.parametrize("finished", [False, True])
def test_a_shadow_that_is_exchanged(
    plane: ReplayPlane, monkeypatch: pytest.MonkeyPatch, *, finished: bool
) -> None:
    plane.replay()
    written = _Written()

    def swapped(*arguments: Any) -> list[SwapFindings]:
        found = SwapFindings("index events", 3, 2, 0, finished)
        arguments[-1](written, found)
        return [found]

    monkeypatch.setattr(replay_shadow, "swap_lane", swapped)
    assert main.run(["replay", "swap", "2", "--yes", "--reason", WHY]) == 0
    assert f"(why: {WHY})" in str(written.values)
    assert ("cut off" in str(written.values)) is finished


def test_one_that_was_cut_off_is_said_to_be_finished(
    plane: ReplayPlane, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    plane.replay()
    plane.ledger.tell(replay_job("counting"), Event.SWAPPED, "index events: 3 into live", 2)
    monkeypatch.setattr(replay_shadow, "swap_lane", lambda *_: [])
    assert main.run(["replay", "swap", "2", "--yes"]) == 0
    assert "Once more brings back what was" in capsys.readouterr().out
    monkeypatch.setattr(replay_shadow, "swaps_cut_off", lambda *_: ["index events"])
    assert main.run(["replay", "swap", "2", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "A swap of index events was cut off: this finishes it." in out
    assert "brings back" not in out


def test_json_of_a_swap_asks_nothing(plane: ReplayPlane, capsys: Output) -> None:
    plane.replay()
    assert main.run(["replay", "swap", "2", "--json"]) == 2
    assert "--json prints JSON and asks nothing" in capsys.readouterr().err


def test_what_is_refused_of_a_replay_is_json_too(plane: ReplayPlane, capsys: Output) -> None:
    plane.replay()
    assert "is over" in run_json(capsys, "replay", "resume", "2", code=3)["refused"]


@pytest.mark.parametrize(("more", "meant"), [([], "to finish it"), (["--undo"], "to undo it")])
def test_a_change_that_is_taken_up(
    monkeypatch: pytest.MonkeyPatch, more: list[str], meant: str
) -> None:
    plane = running_plane()
    office_with(monkeypatch, plane)
    plane.kill_at = "suspend-intended"
    with pytest.raises(KilledError):
        plane.upgrade()
    plane.another_process()
    main.run(["resume", "counting", *more, "--reason", WHY])
    [found] = [one.detail for one in plane.ledger.told if one.event is Event.RESUMED]
    assert found == f"{meant} (why: {WHY})"
