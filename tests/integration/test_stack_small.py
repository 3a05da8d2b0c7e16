"""Small stacks: side by side, killed in the middle, with ports taken and servers of one's own."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from control.stack.home import read_json, write_json
from tests.kit.stack import SLUICE, TestStack, is_gone
from tests.kit.wait import wait_until

Maker = Callable[..., TestStack]


def _ports(stack: TestStack) -> set[int]:
    content = json.loads((stack.home / "stack.json").read_text())
    wanted = content["wanted"]
    return {port for name in wanted for port in content["ports"][name].values()}


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_two_stacks_run_side_by_side(small_stack: Maker) -> None:
    first, second = small_stack("-a"), small_stack("-b")
    first.ok("stack", "up", "--only", "redis,postgres")
    printed = second.ok("stack", "up", "--only", "redis,postgres")
    assert "is taken, using" in printed
    assert not _ports(first) & _ports(second)
    second.ok("stack", "down")
    assert {entry["state"] for entry in first.status().values()} == {"up"}


def test_two_ups_at_once_get_different_ports(small_stack: Maker) -> None:
    stacks = [small_stack(f"-{number}") for number in range(3)]
    running = [
        subprocess.Popen([SLUICE, "stack", "up", "--only", "redis"], env=stack.environment(),
                         stdout=subprocess.DEVNULL)
        for stack in stacks
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(set.union(*(_ports(stack) for stack in stacks))) == len(stacks)


def test_a_moved_port_is_remembered(small_stack: Maker) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "redis")
    usual = stack.status()["redis"]["address"]
    stack.ok("stack", "down")
    port = int(usual.rpartition(":")[2].partition("/")[0])
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", port))
        taker.listen()
        printed = stack.ok("stack", "up", "--only", "redis")
        assert f"port {port} is taken" in printed or "is taken, using" in printed
        moved = stack.status()["redis"]["address"]
        assert moved != usual
    stack.ok("stack", "down")
    again = stack.ok("stack", "up", "--only", "redis")
    assert "is taken" not in again
    assert stack.status()["redis"]["address"] == moved


def test_down_leaves_no_process_and_no_port(small_stack: Maker) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "kafka,registry,redis,postgres")
    ports = _ports(stack)
    assert any(_is_open(port) for port in ports)
    printed = stack.ok("stack", "down")
    assert "4 servers stopped" in printed
    assert stack.processes() == []
    assert not [port for port in ports if _is_open(port)]
    assert "Nothing was running" in stack.ok("stack", "down")
    assert stack.run("stack", "status").returncode == 1


def test_an_up_killed_in_the_middle_is_picked_up(small_stack: Maker) -> None:
    stack = small_stack()
    for wait in (0.8, 1.5, 2.5):
        running = subprocess.Popen(
            [SLUICE, "stack", "up", "--only", "kafka,postgres,redis"], env=stack.environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        time.sleep(wait)
        running.kill()
        running.wait()
    stack.ok("stack", "up", "--only", "kafka,postgres,redis")
    entries = stack.status()
    assert {entry["state"] for entry in entries.values()} == {"up"}
    # Nothing was started twice: every process belongs to one of the three.
    own = {entry["pid"] for entry in entries.values()}
    strays = [process for process in stack.processes()
              if process.pid not in own and not own & {parent.pid for parent in process.parents()}]
    assert strays == []
    stack.ok("stack", "down")
    assert stack.processes() == []


def test_a_server_whose_record_is_lost_is_found_by_its_mark(small_stack: Maker) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "redis")
    pid = stack.pid("redis")
    (stack.home / "run" / "redis.json").unlink()
    assert "already running" in stack.ok("stack", "up", "--only", "redis")
    assert stack.pid("redis") == pid


def test_servers_are_found_after_the_state_is_lost(small_stack: Maker) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "redis")
    pid = stack.pid("redis")
    (stack.home / "stack.json").write_text("{half")
    stack.ok("stack", "down")
    assert is_gone(pid)


def test_a_stale_pid_is_recognised_and_never_signalled(small_stack: Maker) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "redis")
    os.kill(stack.pid("redis"), signal.SIGKILL)
    bystander = subprocess.Popen(["sleep", "300"])
    try:
        record = stack.home / "run" / "redis.json"
        content = read_json(record)
        assert isinstance(content, dict)
        # The system gave the pid to another process; then even one of the same command.
        write_json(record, {**content, "pid": bystander.pid})
        assert stack.status()["redis"]["state"] == "down"
        write_json(record, {**content, "pid": bystander.pid, "command": ["sleep", "300"]})
        assert stack.status()["redis"]["state"] == "down"
        stack.ok("stack", "up", "--only", "redis")
        assert stack.pid("redis") != bystander.pid
        write_json(record, {**content, "pid": bystander.pid})
        stack.ok("stack", "down")
        assert bystander.poll() is None
        assert stack.processes() == []
    finally:
        bystander.kill()
        bystander.wait()


def test_a_home_full_of_old_files_does_not_hinder(small_stack: Maker) -> None:
    stack = small_stack()
    run = stack.home / "run"
    run.mkdir(parents=True)
    for name in ("redis", "kafka", "nonsense"):
        (run / f"{name}.json").write_text('{"pid": 1, "started": 0, "command": []}')
    (run / "postgres.json").write_text("{half")
    (stack.home / "stack.json").write_text("not json")
    (stack.home / "addresses.json").write_text("[]")
    stack.ok("stack", "up", "--only", "redis,postgres")
    assert {entry["state"] for entry in stack.status().values()} == {"up"}


def test_a_second_command_is_refused_while_one_runs(small_stack: Maker) -> None:
    stack = small_stack()
    running = subprocess.Popen([SLUICE, "stack", "up", "--only", "kafka"],
                               env=stack.environment(), stdout=subprocess.DEVNULL)
    wait_until("the lock", lambda: (stack.home / "stack.lock").exists()
               and (stack.home / "stack.lock").read_text())
    refused = stack.run("stack", "down")
    assert refused.returncode == 3
    assert "`sluice stack up`" in refused.stderr
    assert running.wait(120) == 0


def test_a_server_of_ones_own_is_used_instead(small_stack: Maker) -> None:
    theirs, ours = small_stack("-theirs"), small_stack("-ours")
    theirs.ok("stack", "up", "--only", "redis")
    address = theirs.status()["redis"]["address"]
    printed = ours.ok("stack", "up", "--only", "redis,postgres", SLUICE_REDIS_URL=address)
    assert "yours" in printed
    done = ours.run("stack", "status", "--json", SLUICE_REDIS_URL=address)
    entries = {entry["component"]: entry for entry in json.loads(done.stdout)}
    assert entries["redis"]["address"] == address
    assert entries["redis"]["external"] is True
    assert entries["redis"]["pid"] is None
    ours.ok("stack", "down", SLUICE_REDIS_URL=address)
    assert theirs.status()["redis"]["state"] == "up"


def test_an_external_server_that_is_away_is_named(small_stack: Maker) -> None:
    stack = small_stack()
    done = stack.run("stack", "up", "--only", "redis", SLUICE_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert "SLUICE_REDIS_URL" in done.stderr
    assert "redis://127.0.0.1:1/0" in done.stderr
    assert stack.processes() == []


def test_wipe_deletes_the_data_and_nothing_else(small_stack: Maker) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "postgres,redis")
    keep = stack.home / "somebody-elses.txt"
    keep.write_text("mine")
    area = Path(str(stack.status()["postgres"]["data"]))
    stack.ok("stack", "down", "--wipe")
    assert not area.exists()
    assert not (stack.home / "data").exists()
    assert keep.read_text() == "mine"


def test_reset_starts_with_empty_data(small_stack: Maker) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "redis")
    pid = stack.pid("redis")
    stack.ok("stack", "reset", "--yes", "--only", "redis")
    assert stack.pid("redis") != pid
    assert is_gone(pid)
    assert stack.run("stack", "reset").returncode == 1, "without --yes and a terminal: not done"


def test_ctrl_c_stops_what_does_not_answer_yet(small_stack: Maker) -> None:
    stack = small_stack()
    running = subprocess.Popen(
        [SLUICE, "stack", "up", "--only", "redis,kafka,registry"], env=stack.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    wait_until("redis", (stack.home / "run" / "kafka.json").exists)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "stack down" in errors
    assert "Traceback" not in errors
    assert {entry["state"] for entry in stack.status().values()} <= {"up", "down"}
    stack.ok("stack", "up", "--only", "redis,kafka,registry")
