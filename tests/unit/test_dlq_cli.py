"""`sluice dlq`: what makes no sense, and servers that are away."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control.cli import main
from control.dlq import desk
from control.dlq.fault import Point
from control.events import reader
from control.fault import fault
from tests.unit.dlq_kit import MemoryBook

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _servers_are_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("SLUICE_REGISTRY_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SLUICE_TIMESCALE_DSN", "postgresql://u:hunter2@127.0.0.1:1/db")
    monkeypatch.setattr(reader, "_CONNECT_MS", 100)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(("arguments", "said"), [
    (["list", "--reason", "bad_luck"], "unknown_schema"),
    (["list", "--stage", "nowhere"], "timescale"),
    (["list", "--state", "lost"], "discarded"),
    (["list", "--since", "yesterday"], "how long ago"),
    (["list", "--since", "1h", "--until", "2h"], "--since is not before --until"),
    (["list", "--limit", "0"], "--limit"),
    (["list", "--summary", "--limit", "5"], "takes no --limit"),
    (["show", "17"], "partition:offset"),
    (["show"], "LETTER"),
    (["replay"], "`--state open` means all open letters"),
    (["replay", "--force", "--yes"], "no filter given"),
    (["replay", "0:1", "--tenant", "x"], "the one or the other"),
    (["replay", "0:1", "--rate", "0"], "--rate"),
    (["replay", "0:1", "--json"], "Add --yes"),
    (["replay", "0:x", "--yes"], "names no letter"),
    (["discard", "0:1"], "--note"),
    (["discard", "0:1", "--note", " "], "--note is empty"),
    (["discard", "--note", "x"], "no filter given"),
])
def test_what_makes_no_sense_is_misuse(
    arguments: list[str], said: str, capsys: Output
) -> None:
    assert main.run(["dlq", *arguments]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


COMMANDS = [
    ["list"], ["list", "--summary", "--json"], ["show", "0:1"], ["replay", "0:1", "--yes"],
    ["replay", "--state", "open", "--dry-run"], ["discard", "0:1", "--note", "x", "--yes"],
]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_database_that_is_away_is_one_clear_error(
    arguments: list[str], capsys: Output
) -> None:
    assert main.run(["dlq", *arguments]) == 1
    said = capsys.readouterr().err
    assert "postgresql://u:***@127.0.0.1:1/db cannot be reached" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_broker_that_is_away_is_one_clear_error(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    @contextmanager
    def book(_dsn: object) -> Iterator[MemoryBook]:
        yield MemoryBook()

    monkeypatch.setattr(desk, "open_book", book)
    assert main.run(["dlq", *arguments]) == 1
    assert "Kafka at 127.0.0.1:1 cannot be read" in capsys.readouterr().err


def test_the_helps_fit_a_hundred_columns(capsys: Output) -> None:
    for command in ([], ["list"], ["show"], ["replay"], ["discard"]):
        assert main.run(["dlq", *command, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_without_the_switch_no_fault_happens() -> None:
    for point in Point:
        fault(point)
