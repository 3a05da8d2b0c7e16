"""`sluice events` and `sluice tenants`: what makes no sense, and servers that are away."""

import json
import signal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from control.cli import main
from control.events import producer, reader, sender
from control.events.sender import Sender
from tests.unit.event_kit import Ids

Output = pytest.CaptureFixture[str]
NOWHERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _servers_are_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_KAFKA_BOOTSTRAP", NOWHERE)
    monkeypatch.setenv("SLUICE_REGISTRY_URL", f"http://{NOWHERE}")
    monkeypatch.setattr(reader, "_CONNECT_MS", 100)
    monkeypatch.setattr(sender, "_CONNECT_SECONDS", 0.1)


class Answer:
    """A message that is acknowledged."""

    def succeeded(self) -> bool:
        return True


class Kafka:
    """Takes messages until it is told to do something else."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.before_send: dict[int, Any] = {}

    def send(self, _topic: str, *, key: bytes, value: bytes, partition: int) -> Answer:
        if (act := self.before_send.get(len(self.taken))) is not None:
            act()
        self.taken.append(value)
        return Answer()

    def flush(self, timeout: float) -> None:
        pass


class Registry:
    """Registers whatever it is given."""

    ids = Ids()

    def __init__(self, _url: object) -> None:
        pass

    def register(self, _subject: str, schema: Any) -> int:
        return self.ids.register(schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    fake = Kafka()

    class Open:
        def __enter__(self) -> Sender:
            return Sender(fake, "events.raw", 8)

        def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
            pass

        def __call__(self, *_: object) -> Self:
            return self

    monkeypatch.setattr(producer, "open_sender", Open())
    monkeypatch.setattr(producer, "RegistryClient", Registry)
    return fake


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("arguments", [
    ["produce", "--count", "5", "--poison", "0.7", "--invalid", "0.5"],
    ["produce", "--count", "5", "--duplicates", "1"],
    ["produce", "--count", "5", "--late", "1.1"],
    ["produce", "--count", "5", "--late", "-0.1"],
    ["produce", "--count", "5", "--late", "nan"],
    ["produce", "--count", "5", "--older", "2"],
    ["produce", "--count", "5", "--rate", "0"],
    ["produce", "--count", "5", "--rate", "nan"],
    ["produce", "--duration", "inf"],
    ["produce", "--duration", "x"],
    ["produce", "--count", "5", "--tenants", "0"],
    ["produce", "--count", "5", "--manifest", "/"],
    ["produce"],
    ["tail", "--count", "0"],
    ["tail", "events.raw", "events.clean"],
    ["show"],
    ["show", "x", "--limit", "0"],
])
def test_what_makes_no_sense_is_two_and_nothing_is_asked(
    arguments: list[str], capsys: Output
) -> None:
    assert main.run(["events", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Error: " in printed.err
    assert NOWHERE not in printed.err


def test_shares_above_one_are_named(capsys: Output) -> None:
    assert main.run(["events", "produce", "--count", "5", "--poison", "0.96"]) == 2
    assert "1.01 together" in (said := capsys.readouterr().err)
    assert "--out-of-order 0.05 + --poison 0.96" in said


@pytest.mark.parametrize("arguments", [
    ["events", "produce", "--count", "5"], ["tenants", "seed"],
])
def test_a_registry_that_is_away_is_one_clear_error(arguments: list[str], capsys: Output) -> None:
    assert main.run(arguments) == 1
    said = capsys.readouterr().err
    assert f"The registry at http://{NOWHERE} does not answer" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("arguments", [
    ["events", "produce", "--count", "5"], ["events", "tail"], ["events", "show", "x"],
    ["tenants", "list"], ["tenants", "set", "a"], ["tenants", "remove", "a"],
])
def test_a_kafka_that_is_away_is_one_clear_error(
    arguments: list[str], capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "RegistryClient", Registry)
    assert main.run(arguments) == 1
    said = capsys.readouterr().err
    assert f"Kafka at {NOWHERE}" in said
    assert "`sluice stack status` tells" in said
    assert "Traceback" not in said


def test_a_tenant_without_an_id_is_misuse(capsys: Output) -> None:
    assert main.run(["tenants", "set", " "]) == 2
    assert "not empty" in capsys.readouterr().err


def test_the_manifest_lists_exactly_what_was_sent(
    kafka: Kafka, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "m"
    assert main.run([
        "events", "produce", "--count", "777", "--seed", "3", "--invalid", "0.1", "--poison",
        "0.05", "--duplicates", "0.1", "--late", "0.1", "--manifest", str(path), "--json",
    ]) == 0
    sent = json.loads(capsys.readouterr().out)
    found = lines(path)
    assert sent["count"] == len(kafka.taken) == len(found) == 777
    assert sum(sent["kinds"].values()) == 777
    assert sum(sent["domains"].values()) == 777 - sent["kinds"]["poison"]
    assert sent["size"] == sum(map(len, kafka.taken))
    assert sent["seed"] == 3
    for kind, count in sent["kinds"].items():
        assert sum(line["kind"] == kind for line in found) == count
    for line, value in zip(found, kafka.taken, strict=True):
        if line["kind"] != "poison":
            assert line["event_id"].encode() in value


def test_every_message_is_listed_before_it_leaves(kafka: Kafka, tmp_path: Path) -> None:
    path = tmp_path / "m"
    listed: list[int] = []
    for position in (0, 100, 599):
        kafka.before_send[position] = lambda: listed.append(len(lines(path)) - len(kafka.taken))
    assert main.run(["events", "produce", "--count", "600", "--manifest", str(path)]) == 0
    assert len(listed) == 3
    assert min(listed) > 0


def test_one_ctrl_c_ends_the_run_in_good_order(
    kafka: Kafka, tmp_path: Path, capsys: Output
) -> None:
    kafka.before_send[300] = lambda: signal.raise_signal(signal.SIGINT)
    path = tmp_path / "m"
    assert main.run(["events", "produce", "--count", "100000", "--manifest", str(path)]) == 1
    found = lines(path)
    assert 300 < len(found) == len(kafka.taken) < 2_000
    assert f"Interrupted: {len(found):,} messages acknowledged" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_after_a_crash_the_manifest_lists_what_may_have_been_sent(
    kafka: Kafka, tmp_path: Path
) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    kafka.before_send[300] = twice
    path = tmp_path / "m"
    assert main.run(["events", "produce", "--count", "100000", "--manifest", str(path)]) == 1
    # The 301st was on its way when it happened; the 302nd was not.
    assert (len(kafka.taken), len(lines(path))) == (300, 301)


def test_a_duration_ends_the_run(kafka: Kafka) -> None:
    assert main.run(["events", "produce", "--duration", "0.05", "--rate", "1000"]) == 0
    assert kafka.taken


def test_a_full_disk_under_the_manifest_is_one_clear_error(kafka: Kafka, capsys: Output) -> None:
    assert main.run(["events", "produce", "--count", "9", "--manifest", "/dev/full"]) == 1
    said = capsys.readouterr().err
    assert "The manifest /dev/full cannot be written: No space left on device." in said
    assert kafka.taken == []


def test_the_helps_fit_a_hundred_columns(capsys: Output) -> None:
    for command in (["produce"], ["tail"], ["show"]):
        assert main.run(["events", *command, "--help"]) == 0
    for command in ([], ["list"], ["set"], ["remove"], ["seed"]):
        assert main.run(["tenants", *command, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
