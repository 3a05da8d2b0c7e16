"""A Flink process killed -9 comes back with its jobs at their last checkpoints."""

import os
import signal
from collections import Counter
from itertools import count

import pytest

from tests.kit import flink
from tests.kit.kafka import make_topic, read_committed, send
from tests.kit.stack import TestStack, is_gone
from tests.kit.wait import wait_until

KEYS = 7
_numbers = count(1)


def _messages(first: int, last: int) -> list[bytes]:
    return [b"key-%d" % (number % KEYS) for number in range(first, last)]


def _submit(stack: TestStack) -> tuple[str, str, str]:
    """Submit the counting job between two topics of its own; return its id and the topics."""
    bootstrap = stack.settings().kafka_bootstrap
    run = next(_numbers)
    source, target = f"numbers-{run}", f"answers-{run}"
    make_topic(bootstrap, source)
    make_topic(bootstrap, target)
    job = flink.submit(stack, "counting", bootstrap, source, target, flink.connector_jar(stack))
    return job, source, target


# The first two also die in the tests of ingest.
@pytest.mark.parametrize("victim", [
    pytest.param("jobmanager", marks=pytest.mark.long),
    pytest.param("taskmanager", marks=pytest.mark.long), "zookeeper",
])
def test_a_running_job_goes_on_exactly_once(stack: TestStack, victim: str) -> None:
    bootstrap = stack.settings().kafka_bootstrap
    job, source, target = _submit(stack)
    send(bootstrap, source, _messages(0, 2000))
    wait_until("running", lambda: flink.is_running(stack, job), 90)
    before = flink.completed_checkpoints(stack, job)
    wait_until("a checkpoint", lambda: flink.completed_checkpoints(stack, job) > before + 1, 60)
    send(bootstrap, source, _messages(2000, 3000))

    name = victim
    if victim == "taskmanager":
        name = _worker_of(stack, job)
    stack.kill(name)
    send(bootstrap, source, _messages(3000, 4000))
    assert stack.ok("stack", "up").count("restarted") == 1

    wait_until("running again", lambda: flink.is_running(stack, job), 120)
    if victim == "jobmanager":
        restored = flink.get(stack, f"/jobs/{job}/checkpoints")["latest"]["restored"]
        assert restored is not None
    send(bootstrap, source, _messages(4000, 5000))
    answers = Counter(read_committed(bootstrap, target, 5000))
    expected = {
        b"key-%d:%d" % (key, number)
        for key in range(KEYS)
        for number in range(1, len(range(key, 5000, KEYS)) + 1)
    }
    assert set(answers) == expected
    assert max(answers.values()) == 1
    flink.cancel(stack, job)


def _worker_of(stack: TestStack, job: str) -> str:
    state = flink.get(stack, f"/jobs/{job}")
    vertex = state["vertices"][0]["id"]
    workers = flink.get(stack, f"/jobs/{job}/vertices/{vertex}/taskmanagers")["taskmanagers"]
    return str(workers[0]["taskmanager-id"])


def test_jobs_survive_down_and_up(stack: TestStack) -> None:
    bootstrap = stack.settings().kafka_bootstrap
    job, source, target = _submit(stack)
    send(bootstrap, source, _messages(0, 1000))
    wait_until("two checkpoints", lambda: flink.completed_checkpoints(stack, job) > 1, 90)

    stack.ok("stack", "down")
    assert stack.processes() == []
    stack.ok("stack", "up")

    wait_until("running again", lambda: flink.is_running(stack, job), 120)
    send(bootstrap, source, _messages(1000, 2000))
    answers = Counter(read_committed(bootstrap, target, 2000))
    assert len(answers) == 2000
    assert max(answers.values()) == 1
    flink.cancel(stack, job)


@pytest.mark.long
def test_a_hung_taskmanager_is_started_anew(stack: TestStack) -> None:
    pid = stack.pid("taskmanager-2")
    os.kill(pid, signal.SIGSTOP)
    wait_until("missed", lambda: len(
        flink.get(stack, "/taskmanagers").get("taskmanagers", [])) < 3, 60)
    assert "starting it anew" in stack.ok("stack", "up")
    assert stack.pid("taskmanager-2") != pid
    assert is_gone(pid)


def test_a_worker_that_outlives_its_taskmanager_is_not_taken_for_it(stack: TestStack) -> None:
    bootstrap = stack.settings().kafka_bootstrap
    job, source, _ = _submit(stack)
    send(bootstrap, source, _messages(0, 100))
    wait_until("a checkpoint", lambda: flink.completed_checkpoints(stack, job) > 0, 90)
    name = _worker_of(stack, job)
    workers = wait_until("a Python worker", lambda: stack.children(name))
    for worker in workers:
        # Frozen, it cannot see that its TaskManager is gone.
        worker.suspend()
    killed = stack.kill(name)
    assert stack.status()[name]["state"] == "down"
    stack.ok("stack", "up")
    assert stack.pid(name) != killed
    assert all(is_gone(worker.pid) for worker in workers)
    wait_until("running again", lambda: flink.is_running(stack, job), 120)
    flink.cancel(stack, job)
