"""The `sluice` command: exit codes, and how it speaks to the person."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import psutil
import pytest

from control.cli import main
from control.cli.output import duration
from control.errors import MisuseError, RefusedError, SluiceError, TimedOutError
from control.settings import Settings
from control.stack.process import STACK_MARK

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every command at a home of this test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("SLUICE_HOME", str(folder))
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """Add a command that raises what the test puts in here."""
    box: dict[str, BaseException] = {}

    @click.command()
    def fail() -> None:
        raise box["error"]

    monkeypatch.setitem(main.cli.commands, "fail", fail)
    return box


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a name stand for the command that fails, whatever else it stands for."""
    monkeypatch.delitem(main.COMMANDS, name, raising=name != "fail")
    monkeypatch.setitem(main.cli.commands, name, main.cli.commands["fail"])
    found = main.cli.get_command(click.Context(main.cli), name)
    assert found is main.cli.commands["fail"]


def no_traceback(text: str) -> bool:
    return "Traceback" not in text and ".py" not in text


def test_every_command_is_where_the_list_says(capsys: Output) -> None:
    for name, place in main.COMMANDS.items():
        assert main.run([name, "--help"]) == 0
        assert f"Usage: sluice {name}" in capsys.readouterr().out
        assert place.help.endswith(".")


def test_a_command_imports_no_other_commands_modules() -> None:
    script = (
        "import sys; from control.cli.main import run; run(['tenants', '--help']);"
        "print([name for name in sys.modules if name in ('elasticsearch', 'pyflink', 'pandas',"
        " 'control.cli.dlq', 'control.cli.demo')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_done_is_zero(capsys: Output) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sluice, version ")


@pytest.mark.parametrize("arguments", [
    ["--nonsense"], ["nonsense"], ["stack", "nonsense"], ["stack", "up", "--nonsense"],
    ["stack", "up", "--db", "nonsense"], ["stack", "logs"], ["stack", "logs", "kafka", "-n", "x"],
    ["events", "produce", "--count", "0"],
])
def test_a_command_that_makes_no_sense_is_two(arguments: list[str], capsys: Output) -> None:
    assert main.run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Error: " in printed.err
    assert no_traceback(printed.err)


def test_a_bad_setting_is_two_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("SLUICE_LOG_LEVEL", "loud")
    assert main.run(["stack", "status"]) == 2
    printed = capsys.readouterr()
    assert "Error: A setting is wrong: SLUICE_LOG_LEVEL: " in printed.err
    assert "Do: `sluice --help` lists the settings." in printed.err


@pytest.mark.parametrize(("error", "code"), [
    (SluiceError, 1), (MisuseError, 2), (RefusedError, 3), (TimedOutError, 4),
])
def test_each_error_has_its_exit_code_message_and_hint(
    failing: dict[str, BaseException], capsys: Output, error: type[SluiceError], code: int
) -> None:
    failing["error"] = error("The river is dry.", "Wait for rain.")
    assert main.run(["fail"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "Error: The river is dry.\nDo: Wait for rain.\n"


def test_an_error_without_a_hint_is_one_line(
    failing: dict[str, BaseException], capsys: Output
) -> None:
    failing["error"] = SluiceError("The river is dry.")
    assert main.run(["fail"]) == 1
    assert capsys.readouterr().err == "Error: The river is dry.\n"


@pytest.mark.parametrize("text", [
    "[Errno 111] refused", "a [red]word[/] and [0, 1]", "[/]", "[", "x" * 300, r"C:\[x]", "a:key:b",
])
def test_a_message_is_printed_as_it_is(
    failing: dict[str, BaseException], capsys: Output, text: str
) -> None:
    failing["error"] = SluiceError(text, text)
    assert main.run(["fail"]) == 1
    assert capsys.readouterr().err == f"Error: {text}\nDo: {text}\n"


def test_debug_raises_the_error(failing: dict[str, BaseException]) -> None:
    failing["error"] = SluiceError("The river is dry.")
    with pytest.raises(SluiceError, match="dry"):
        main.run(["--debug", "fail"])


def test_an_interruption_is_one_and_no_traceback(
    failing: dict[str, BaseException], capsys: Output
) -> None:
    failing["error"] = KeyboardInterrupt()
    assert main.run(["fail"]) == 1
    # It left no server: nothing is said of the stack.
    assert capsys.readouterr().err.strip() == "Interrupted."


@pytest.mark.parametrize("name", ["stack", "demo"])
def test_what_starts_servers_and_is_interrupted_says_how_to_stop_them(
    failing: dict[str, BaseException], monkeypatch: pytest.MonkeyPatch, capsys: Output, name: str
) -> None:
    stand_in(monkeypatch, name)
    failing["error"] = KeyboardInterrupt()
    assert main.run(["--debug", name]) == 1
    said, hint = capsys.readouterr().err.strip().splitlines()
    assert said == "Interrupted."
    assert "`sluice stack down`" in hint


@pytest.mark.parametrize("name", ["fail", "stack"])
def test_a_question_answered_with_no_changes_nothing(
    failing: dict[str, BaseException], monkeypatch: pytest.MonkeyPatch, capsys: Output, name: str
) -> None:
    stand_in(monkeypatch, name)
    failing["error"] = click.Abort()
    assert main.run([name]) == 1
    assert capsys.readouterr().err.strip() == "Nothing was changed."


def test_help_lists_every_setting_with_its_description(capsys: Output) -> None:
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, field in Settings.model_fields.items():
        if name == "explicit":
            # Worked out, never set by a person.
            assert "SLUICE_EXPLICIT" not in shown
            continue
        line = next(line for line in shown.splitlines() if f"SLUICE_{name.upper()} " in line)
        assert (field.description or "?") in line


def test_help_fits_a_hundred_columns(capsys: Output) -> None:
    for command in ([], ["stack"], ["stack", "up"], ["events", "produce"]):
        assert main.run([*command, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def status(capsys: Output) -> list[dict[str, Any]]:
    assert main.run(["stack", "status", "--json"]) == 1
    entries: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return entries


def test_the_status_of_a_fresh_home_is_a_json_list_of_stopped_servers(capsys: Output) -> None:
    entries = status(capsys)
    assert {"kafka", "registry", "postgres", "elasticsearch", "redis", "jobmanager"} <= {
        entry["component"] for entry in entries
    }
    for entry in entries:
        assert {"component", "version", "address", "pid", "state", "memory_mb", "log"} <= set(entry)
        assert entry["state"] == "stopped"
        assert entry["pid"] is None
        assert entry["memory_mb"] is None
        assert entry["address"]
        assert entry["log"]


def test_looking_changes_nothing(home: Path, capsys: Output) -> None:
    status(capsys)
    assert not home.exists()


def test_the_status_for_a_person_names_every_server(capsys: Output) -> None:
    assert main.run(["stack", "status"]) == 1
    shown = capsys.readouterr().out
    for name in ("kafka", "registry", "postgres", "elasticsearch", "redis", "taskmanager-1"):
        assert name in shown
    assert "`sluice stack up` starts what is down." in shown


def test_the_status_hides_passwords(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("SLUICE_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    entry = next(entry for entry in status(capsys) if entry["component"] == "redis")
    assert entry["external"]
    assert entry["state"] == "down"
    assert entry["address"] == "redis://:***@127.0.0.1:1/0"
    assert "hunter2" not in json.dumps(entry)


def test_down_without_a_stack_says_so(home: Path, capsys: Output) -> None:
    assert main.run(["stack", "down"]) == 0
    assert capsys.readouterr().out == f"There is no stack in {home}.\n"
    assert not home.exists()


def test_up_of_a_server_that_is_not_known_starts_nothing(home: Path, capsys: Output) -> None:
    children = set(psutil.Process().children(recursive=True))
    assert main.run(["stack", "up", "--only", "kafka,nonsense"]) == 2
    printed = capsys.readouterr()
    assert "There is no server 'nonsense' in the stack." in printed.err
    assert "Choose from " in printed.err
    assert "kafka" in printed.err
    assert set(psutil.Process().children(recursive=True)) <= children
    assert list((home / "run").glob("*.json")) == []
    assert not (home / "stack.json").exists()


def test_up_of_no_server_at_all_is_misuse(capsys: Output) -> None:
    assert main.run(["stack", "up", "--only", " , "]) == 2
    assert "--only names no server" in capsys.readouterr().err


def test_up_in_a_home_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "file" / "home"))
    assert main.run(["stack", "up"]) == 1
    printed = capsys.readouterr().err
    assert "cannot be written" in printed
    assert no_traceback(printed)


@pytest.mark.parametrize("name", ["nonsense", "flink", ""])
def test_logs_of_a_server_that_is_not_known_are_misuse(name: str, capsys: Output) -> None:
    assert main.run(["stack", "logs", name]) == 2
    printed = capsys.readouterr().err
    assert f"There is no server {name!r}." in printed
    assert "Choose from kafka, " in printed


def test_logs_of_a_server_that_never_ran_say_so(capsys: Output) -> None:
    assert main.run(["stack", "logs", "kafka"]) == 1
    assert capsys.readouterr().err == "kafka has not written a log yet.\n"


def test_logs_print_the_last_lines(home: Path, capfd: Output) -> None:
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "redis.log").write_text("one\ntwo\nthree\n")
    assert main.run(["stack", "logs", "redis", "-n", "2"]) == 0
    assert capfd.readouterr().out == "two\nthree\n"


def test_events_without_an_end_are_misuse(capsys: Output) -> None:
    assert main.run(["events", "produce"]) == 2
    assert "--count or --duration" in capsys.readouterr().err


def test_a_database_that_is_down_is_one_clear_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("SLUICE_TIMESCALE_DSN", "postgresql://u:hunter2@127.0.0.1:1/db")
    assert main.run(["db", "status"]) == 1
    printed = capsys.readouterr().err
    assert "postgresql://u:***@127.0.0.1:1/db cannot be reached" in printed
    assert "hunter2" not in printed
    assert no_traceback(printed)


def test_a_dsn_that_cannot_be_read_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("SLUICE_TIMESCALE_DSN", "host=127.0.0.1 passwort=hunter2")
    assert main.run(["db", "status"]) == 1
    printed = capsys.readouterr().err
    assert "hunter2" not in printed
    assert no_traceback(printed)


def test_addresses_are_printed_as_shell_exports(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("SLUICE_TIMESCALE_DSN", "host=h user=u password='a b'")
    assert main.run(["stack", "env"]) == 0
    script = capsys.readouterr().out + 'printf "%s" "$SLUICE_TIMESCALE_DSN"'
    shell = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout == "host=h user=u password='a b'"


def test_the_installed_command_gives_its_exit_code_to_the_shell(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from control.cli.main import main; main()", "stack", "nonsense"],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 2
    assert no_traceback(done.stderr)


def test_no_command_here_left_a_process() -> None:
    assert STACK_MARK not in os.environ
    for process in psutil.Process().children(recursive=True):
        assert STACK_MARK not in process.environ()


@pytest.mark.parametrize(("seconds", "text"), [
    (None, ""), (0, "0s"), (4.9, "4s"), (200, "3m 20s"), (7500, "2h 5m"), (3600, "1h"),
    (3 * 86_400 + 4 * 3600 + 59, "3d 4h"),
])
def test_durations_read_well(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
