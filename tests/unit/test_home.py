"""The stack's folder: its lock, and what is remembered in it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control.errors import ExitCode, RefusedError, SluiceError
from control.stack.home import StackHome, StackState, read_json, write_json

HOLDER = """
import sys, time
from pathlib import Path
from control.stack.home import StackHome

with StackHome(Path(sys.argv[1])).locked("up"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path) -> StackHome:
    return StackHome(tmp_path / "home")


@contextmanager
def held_by_another_process(home: StackHome) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLDER, str(home.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def test_a_second_holder_is_refused_with_the_name_of_the_first(home: StackHome) -> None:
    with held_by_another_process(home) as holder:
        expected = rf"`sluice stack up` \(pid {holder.pid}\) is running"
        with pytest.raises(RefusedError, match=expected) as caught, home.locked("down"):
            pass
        assert caught.value.exit_code is ExitCode.REFUSED


def test_a_killed_holder_leaves_nothing_stale(home: StackHome) -> None:
    with held_by_another_process(home) as holder:
        holder.kill()
        holder.wait()
        with home.locked("down"):
            text = (home.path / "stack.lock").read_text()
    assert text == f"`sluice stack down` (pid {os.getpid()})"


def test_the_lock_is_free_after_its_holder_is_done(home: StackHome) -> None:
    for _ in range(2):
        with home.locked("up"):
            pass
    assert (home.path / "stack.lock").read_text() == ""


def test_the_lock_is_free_after_its_holder_failed(home: StackHome) -> None:
    with pytest.raises(ZeroDivisionError), home.locked("up"):
        raise ZeroDivisionError
    with home.locked("up"):
        pass


def test_the_lock_keeps_out_other_threads_too(home: StackHome) -> None:
    with home.locked("up"), pytest.raises(RefusedError), StackHome(home.path).locked("up"):
        pass


def test_a_home_exists_once_it_has_a_state(home: StackHome) -> None:
    assert not home.exists
    home.create()
    assert not home.exists
    home.save(home.load())
    assert home.exists


def test_a_state_comes_back_as_it_was_saved(home: StackHome) -> None:
    home.create()
    state = StackState("id", {"kafka": {"broker": 9094}}, ["kafka"], "timescale-wasm", "/area")
    home.save(state)
    assert StackHome(home.path).load() == state


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"ports": 1}']
)
def test_a_corrupt_state_is_started_anew(home: StackHome, content: bytes) -> None:
    home.create()
    (home.path / "stack.json").write_bytes(content)
    state = home.load()
    assert len(state.stack_id) == 32
    assert state == StackState(state.stack_id)


def test_a_lost_state_keeps_the_id_of_its_home(home: StackHome, tmp_path: Path) -> None:
    assert home.load().stack_id == home.load().stack_id
    assert home.load().stack_id != StackHome(tmp_path / "another").load().stack_id


def test_fields_of_another_version_are_ignored(home: StackHome) -> None:
    home.create()
    (home.path / "stack.json").write_text('{"stack_id": "id", "from_the_future": 1}')
    assert home.load() == StackState("id")


def test_write_json_leaves_the_old_content_when_it_fails(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    write_json(file, {"old": True})
    with pytest.raises(TypeError):
        write_json(file, {"good": 1, "bad": object()})
    assert read_json(file) == {"old": True}


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    contents = [{str(number): "x" * 50_000} for number in range(2)]
    write_json(file, contents[0])
    done = threading.Event()
    seen: list[object] = []

    def read() -> None:
        while not done.is_set():
            seen.append(json.loads(file.read_text()))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        write_json(file, contents[number % 2])
    done.set()
    reader.join()
    assert seen
    assert all(content in contents for content in seen)


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    threads = [
        threading.Thread(target=write_json, args=(file, {"writer": number})) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_json(file) in [{"writer": number} for number in range(8)]
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"])
def test_what_cannot_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "file.json"
    if content is not None:
        file.write_bytes(content)
    assert read_json(file) is None


def test_a_home_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    # Modes do not stop root; a file in the way stops everybody.
    (tmp_path / "file").touch()
    home = StackHome(tmp_path / "file" / "home")
    with pytest.raises(SluiceError, match=r"home cannot be written: Not a directory\.") as caught:
        home.create()
    assert "SLUICE_HOME" in caught.value.hint
    with pytest.raises(SluiceError, match="cannot be written"), home.locked("up"):
        pass


def test_making_a_home_twice_is_harmless(home: StackHome) -> None:
    home.create()
    (home.data / "kept").touch()
    home.create()
    assert (home.data / "kept").exists()
    assert list(home.run.iterdir()) == []
