"""Processes of a stack: started, recognised, stopped; and nobody else's is touched."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from control.errors import SluiceError
from control.stack.home import read_json, write_json
from control.stack.process import (
    COMPONENT_MARK,
    STACK_MARK,
    Launch,
    ProcessRecord,
    ProcessTable,
    base_environment,
    is_alive,
    kill,
    memory_mb,
    stop,
    wait_gone,
)
from tests.kit.wait import wait_until

SLEEP = ("sleep", "600")
Start = Callable[..., "subprocess.Popen[bytes]"]

# Says when it is ready: a signal that comes before the handler is set would end it.
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""

WITH_CHILD = """
import subprocess, time
child = subprocess.Popen(["sleep", "599"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    run = tmp_path / "run"
    run.mkdir()
    made = ProcessTable(run, uuid.uuid4().hex)
    yield made
    kill(made.marked())


@pytest.fixture
def start(table: ProcessTable, tmp_path: Path) -> Iterator[Start]:
    """Yield a starter of small servers that belong to the table; none outlives its test."""
    started: list[subprocess.Popen[bytes]] = []

    def starter(
        component: str = "sleeper", command: tuple[str, ...] = SLEEP, *,
        environment: dict[str, str] | None = None,
    ) -> "subprocess.Popen[bytes]":
        launch = Launch(
            command, tmp_path / "logs" / f"{component}.log",
            base_environment() if environment is None else environment, tmp_path,
        )
        started.append(table.start(component, launch))
        return started[-1]

    yield starter
    for child in started:
        child.kill()
        child.wait()


def said(tmp_path: Path, component: str = "sleeper") -> str:
    """Wait for a component's first line."""
    log = tmp_path / "logs" / f"{component}.log"
    return wait_until(f"a line in {log}", lambda: log.read_text().strip(), 10, 0.02)


def record_of(pid: int) -> dict[str, object]:
    process = psutil.Process(pid)
    return asdict(ProcessRecord(pid, process.create_time(), process.cmdline()))


def test_a_started_process_is_found_until_it_ends(table: ProcessTable, start: Start) -> None:
    child = start()
    found = table.find("sleeper")
    assert found is not None
    assert found.pid == child.pid
    child.kill()
    child.wait()
    assert table.find("sleeper") is None


def test_a_start_waits_until_the_last_one_is_reaped(table: ProcessTable, start: Start) -> None:
    child = start()
    child.kill()
    dead = psutil.Process(child.pid)
    wait_until("it is dead", lambda: dead.status() == psutil.STATUS_ZOMBIE, 10, 0.02)
    reaper = threading.Timer(0.5, child.wait)
    reaper.start()
    start()
    assert child.returncode is not None
    reaper.join()


def test_a_component_is_remembered_until_it_is_forgotten(
    table: ProcessTable, start: Start
) -> None:
    assert not table.is_remembered("sleeper")
    child = start()
    child.kill()
    child.wait()
    assert table.is_remembered("sleeper")
    table.forget("sleeper")
    assert not table.is_remembered("sleeper")
    table.forget("sleeper")


def test_a_process_is_its_own_session(start: Start) -> None:
    # A Ctrl-C in the terminal goes to the whole foreground group; servers are not in it.
    assert os.getsid(start().pid) != os.getsid(0)


def test_output_goes_to_the_log_and_is_appended(start: Start, tmp_path: Path) -> None:
    for word in ("one", "two"):
        start(command=("sh", "-c", f"echo {word}; echo {word} >&2")).wait()
    log = tmp_path / "logs" / "sleeper.log"
    assert log.read_text().split() == ["one", "one", "two", "two"]


def test_a_command_that_is_not_there_is_a_clear_error(start: Start) -> None:
    with pytest.raises(SluiceError, match="sleeper cannot be started: no-such-program") as caught:
        start(command=("no-such-program",))
    assert "doctor" in caught.value.hint


@pytest.mark.parametrize("forged", [
    {"started": 1.0},
    {"command": ["some", "other", "program"]},
])
def test_a_pid_that_now_belongs_to_another_process_is_not_ours(
    table: ProcessTable, tmp_path: Path, forged: dict[str, object]
) -> None:
    write_json(tmp_path / "run" / "sleeper.json", {**record_of(os.getpid()), **forged})
    # Were it found, `stack down` would end this very test run.
    assert table.find("sleeper") is None


def test_the_forged_record_would_match_if_it_were_true(
    table: ProcessTable, tmp_path: Path
) -> None:
    write_json(tmp_path / "run" / "sleeper.json", record_of(os.getpid()))
    found = table.find("sleeper")
    assert found is not None
    assert found.pid == os.getpid()


def test_a_recycled_pid_is_never_signalled() -> None:
    with subprocess.Popen(SLEEP, start_new_session=True) as stranger:
        stale = psutil.Process(stranger.pid)
        # What psutil knows of a process that ended before this one got its pid.
        stale._create_time = stale.create_time() - 100  # type: ignore[attr-defined]
        stale._ident = (stale.pid, stale._create_time)  # type: ignore[attr-defined]
        assert stop(stale, signal.SIGTERM, 1)
        kill([stale])
        time.sleep(0.1)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", [
    "", "{", "[]", "{}", '{"pid": 1}', '{"pid": "x", "started": 1, "command": []}',
    '{"pid": -5, "started": 1, "command": []}', '{"pid": 1, "started": "x", "command": []}',
    '{"pid": 1, "started": 1, "command": [], "later": true}',
])
def test_a_damaged_record_falls_back_to_the_mark(
    table: ProcessTable, start: Start, tmp_path: Path, content: str
) -> None:
    child = start()
    (tmp_path / "run" / "sleeper.json").write_text(content)
    found = table.find("sleeper")
    assert found is not None
    assert found.pid == child.pid


def test_a_process_without_a_record_is_found_by_its_mark_and_noted(
    table: ProcessTable, start: Start, tmp_path: Path
) -> None:
    child = start()
    table.forget("sleeper")
    found = table.find("sleeper")
    assert found is not None
    assert found.pid == child.pid
    assert read_json(tmp_path / "run" / "sleeper.json") == record_of(child.pid)


def test_the_mark_finds_the_head_and_not_its_children(
    table: ProcessTable, start: Start, tmp_path: Path
) -> None:
    head = start(command=(sys.executable, "-c", WITH_CHILD))
    child = int(said(tmp_path))
    table.forget("sleeper")
    found = table.find("sleeper")
    assert found is not None
    assert found.pid == head.pid
    assert {process.pid for process in table.marked()} == {head.pid, child}


def test_children_of_a_killed_process_are_still_found(
    table: ProcessTable, start: Start, tmp_path: Path
) -> None:
    head = start(command=(sys.executable, "-c", WITH_CHILD))
    child = int(said(tmp_path))
    head.kill()
    head.wait()
    assert [process.pid for process in table.marked(["sleeper"])] == [child]


def test_a_server_without_record_is_told_from_its_kin_by_its_command(
    table: ProcessTable, start: Start, tmp_path: Path
) -> None:
    start(command=(sys.executable, "-c", WITH_CHILD))
    server = int(said(tmp_path))
    table.forget("sleeper")
    found = table.find("sleeper", "sleep 599")
    assert found is not None
    assert found.pid == server


def test_marks_tell_components_apart(table: ProcessTable, start: Start) -> None:
    one, two = start("one"), start("two")
    assert [process.pid for process in table.marked(["two"])] == [two.pid]
    assert {process.pid for process in table.marked()} == {one.pid, two.pid}
    assert table.marked(["three"]) == []


def test_another_stacks_process_is_not_found(start: Start, tmp_path: Path) -> None:
    start()
    other = ProcessTable(tmp_path, uuid.uuid4().hex)
    assert other.find("sleeper") is None
    assert other.marked() == []


def test_a_zombie_is_not_alive(table: ProcessTable, start: Start) -> None:
    child = start(command=("true",))
    process = psutil.Process(child.pid)
    wait_until(
        "a zombie", lambda: process.status() == psutil.STATUS_ZOMBIE, 5, 0.01
    )
    assert not is_alive(process)
    assert table.find("sleeper") is None
    child.wait()
    assert not is_alive(process)


def test_a_process_that_obeys_is_stopped_gracefully(start: Start) -> None:
    process = psutil.Process(start().pid)
    begun = time.monotonic()
    assert stop(process, signal.SIGTERM, 20)
    assert time.monotonic() - begun < 10
    assert not is_alive(process)


def test_a_process_that_ignores_sigterm_is_killed(start: Start, tmp_path: Path) -> None:
    process = psutil.Process(start(command=(sys.executable, "-c", DEAF)).pid)
    assert said(tmp_path) == "ready"
    assert not stop(process, signal.SIGTERM, 0.3)
    assert not is_alive(process)


def test_stopping_uses_the_servers_own_signal(start: Start, tmp_path: Path) -> None:
    process = psutil.Process(start(command=(sys.executable, "-c", DEAF)).pid)
    assert said(tmp_path) == "ready"
    assert stop(process, signal.SIGINT, 10)


def test_stopping_a_process_that_has_gone_is_graceful(start: Start) -> None:
    child = start()
    process = psutil.Process(child.pid)
    child.kill()
    child.wait()
    assert stop(process, signal.SIGTERM, 1)
    kill([process])


def test_waiting_has_an_end(start: Start) -> None:
    process = psutil.Process(start().pid)
    assert not wait_gone([process], 0.1)
    assert wait_gone([], 0)


def test_servers_get_no_secrets_of_the_caller(
    monkeypatch: pytest.MonkeyPatch, table: ProcessTable, start: Start
) -> None:
    monkeypatch.setenv("SLUICE_TIMESCALE_DSN", "postgresql://u:secret@h/db")
    monkeypatch.setenv("CLOUD_SECRET_KEY", "secret")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dsecret=1")
    monkeypatch.setenv("TZ", "UTC")
    environment = psutil.Process(start().pid).environ()
    assert "secret" not in " ".join(environment.values())
    assert environment["TZ"] == "UTC"
    assert environment["PATH"] == os.environ["PATH"]
    assert set(environment) <= {
        "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
        STACK_MARK, COMPONENT_MARK,
    }


def test_a_folder_can_come_first_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    assert base_environment(Path("/first"))["PATH"] == "/first:/bin"


def test_the_mark_of_the_table_wins_over_a_given_one(
    table: ProcessTable, start: Start
) -> None:
    # As when sluice is called from inside a process of another stack.
    child = start(environment={**base_environment(), STACK_MARK: "other"})
    assert [process.pid for process in table.marked()] == [child.pid]


def test_memory_is_of_the_whole_tree(start: Start, tmp_path: Path) -> None:
    # The pages are touched, so that they are really there.
    code = "import time; held = b'x' * 50_000_000; print('ready', flush=True); time.sleep(600)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    child = start(command=(sys.executable, "-c", outer))
    assert said(tmp_path) == "ready"
    assert 50 < memory_mb(psutil.Process(child.pid)) < 150


def test_memory_of_a_process_that_has_gone_is_none(start: Start) -> None:
    child = start()
    process = psutil.Process(child.pid)
    child.kill()
    child.wait()
    assert memory_mb(process) == 0.0
