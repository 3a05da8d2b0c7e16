"""Events on their way into Kafka, and what `make run` shows of it."""

import json
import signal
import struct
import subprocess

import httpx

from tests.kit.kafka import read_committed
from tests.kit.stack import SLUICE, TestStack
from tests.kit.wait import wait_until


def test_produced_events_carry_the_ids_of_their_schemas(stack: TestStack) -> None:
    sent = json.loads(stack.ok("events", "produce", "--count", "1000", "--seed", "7", "--json"))
    assert sent["count"] == 1000
    assert sum(sent["domains"].values()) == 1000
    values = read_committed(stack.settings().kafka_bootstrap, "events.raw", 1000)
    url = stack.settings().registry_url.get_secret_value()
    ids = {struct.unpack(">bI", value[:5]) for value in values}
    assert {magic for magic, _ in ids} == {0}
    names = set()
    for _, number in ids:
        answer = httpx.get(f"{url}/schemas/ids/{number}", timeout=10)
        names.add(json.loads(answer.json()["schema"])["name"])
    assert names == {"User", "Transaction", "System"}


def test_produce_without_an_end_is_misuse(stack: TestStack) -> None:
    done = stack.run("events", "produce")
    assert done.returncode == 2
    assert "--count" in done.stderr


def test_the_demo_shows_what_came_out(stack: TestStack) -> None:
    printed = stack.ok("demo", "--count", "1500", "--rate", "3000")
    assert "1,500 events acknowledged" in printed
    row = next(line for line in printed.splitlines() if line.startswith("topic events.raw"))
    assert "+1,500" in row
    assert "make down" in printed
    assert {entry["state"] for entry in stack.status().values()} == {"up"}


def test_the_demo_ends_cleanly_on_ctrl_c(stack: TestStack) -> None:
    running = subprocess.Popen(
        [SLUICE, "demo", "--count", "100000", "--rate", "500"], env=stack.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert running.stdout is not None
    shown = running.stdout
    wait_until("a line of progress", lambda: "events sent" in shown.readline())
    running.send_signal(signal.SIGINT)
    out, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert "Traceback" not in errors
    assert "Stopped sending" in out
    assert "topic events.raw" in out
    assert "make down" in out
