"""Dead letters with real servers: each is replayed once, whoever is killed on the way."""

import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from control.dlq.fault import Point
from tests.integration.dlq_letters import (
    Landed,
    Written,
    landed,
    poison,
    states,
    write_letters,
)
from tests.kit.stack import SLUICE, TestStack
from tests.kit.wait import wait_until
from udfs.reasons import Reason, Stage


@pytest.fixture(autouse=True)
def _free(stack: TestStack) -> Iterator[None]:
    yield
    # A failed test must not stand in the way of the next.
    expire(stack)


def expire(stack: TestStack) -> None:
    """Let the lease of a killed run end now instead of within half a minute."""
    with psycopg.connect(stack.settings().timescale_dsn.get_secret_value()) as connection:
        connection.execute("DELETE FROM control.leases WHERE name = 'dlq'")


def of(mark: str, count: int, **more: object) -> list[Written]:
    """Return letters of a test's tenant."""
    return [Written(one.payload, tenant=mark, **more)  # type: ignore[arg-type]
            for one in poison(count, mark)]


def sent(stack: TestStack, mark: str) -> list[Landed]:
    """Return this test's replays on events.raw."""
    return [one for one in landed(stack.settings()) if one.key == mark.encode()]


def replay(stack: TestStack, mark: str, *more: str, **environment: str) -> "Done":
    return stack.run("dlq", "replay", "--tenant", mark, "--yes", *more, **environment)


Done = subprocess.CompletedProcess[str]


@pytest.mark.parametrize("fault", [
    Point.SENT, f"{Point.COMMITTED}:2",
    *(pytest.param(point, marks=pytest.mark.long) for point in (
        Point.LEASED, Point.SETTLED, Point.INTENDED, Point.COMMITTED, Point.MARKED,
        f"{Point.SENT}:2",
    )),
])
def test_a_killed_replay_is_finished_by_the_next(
    stack: TestStack, mark: str, fault: str
) -> None:
    write_letters(stack.settings(), of(mark, 520))
    write_letters(stack.settings(), of(mark, 5), commit=False)
    killed = replay(stack, mark, SLUICE_FAULT=fault)
    assert killed.returncode == -signal.SIGKILL
    refused = replay(stack, mark)
    assert refused.returncode == 3
    assert re.search(r"pid \d+ holds 'dlq'", refused.stderr)
    committed = {one.letter for one in sent(stack, mark)}
    expire(stack)
    before = states(stack, mark)
    assert before["replayed"] + before["unknown"] >= len(committed)
    assert before.total() == 520
    # The second run dies while it settles, the third one ends.
    if before["unknown"]:
        again = replay(stack, mark, SLUICE_FAULT=Point.FOUND)
        assert again.returncode == -signal.SIGKILL
        expire(stack)
        assert states(stack, mark) == before
    ended = replay(stack, mark)
    assert ended.returncode == 0, ended.stderr
    assert ("A replay was cut off" in ended.stderr) == bool(before["unknown"])
    found = sent(stack, mark)
    assert len(found) == len({one.letter for one in found}) == 520
    assert {one.payload for one in found} == {one.payload for one in of(mark, 520)}
    assert {one.attempt for one in found} == {2}
    assert states(stack, mark) == {"replayed": 520}
    assert json.loads(replay(stack, mark, "--json").stdout)["sent"] == 0
    assert len(sent(stack, mark)) == 520


@pytest.mark.parametrize("point", [Point.INTENDED, Point.SENT, Point.COMMITTED])
def test_a_replay_that_hung_cannot_go_on_behind_its_successor(
    stack: TestStack, mark: str, point: Point
) -> None:
    write_letters(stack.settings(), of(mark, 20))
    hanging = subprocess.Popen(
        [SLUICE, "dlq", "replay", "--tenant", mark, "--yes"], text=True,
        env=stack.environment(SLUICE_FAULT=f"stop-{point}"), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        process = psutil.Process(hanging.pid)
        wait_until("stopped", lambda: process.status() == psutil.STATUS_STOPPED)
        expire(stack)
        second = replay(stack, mark)
        assert second.returncode == 0, second.stderr
    finally:
        os.kill(hanging.pid, signal.SIGCONT)
        out, errors = hanging.communicate(timeout=120)
    # What it had committed was found; what it had not is not its any more.
    assert hanging.returncode == (0 if point is Point.COMMITTED else 1), (out, errors)
    assert "Traceback" not in errors
    assert states(stack, mark) == {"replayed": 20}
    found = sent(stack, mark)
    assert len(found) == len({one.letter for one in found}) == 20


def test_ctrl_c_ends_a_replay_in_good_order(stack: TestStack, mark: str) -> None:
    write_letters(stack.settings(), of(mark, 300))
    running = subprocess.Popen(
        [SLUICE, "dlq", "replay", "--tenant", mark, "--yes", "--rate", "20"], text=True,
        env=stack.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    wait_until("some are sent", lambda: sent(stack, mark))
    assert states(stack, mark)["open"] > 0
    second = replay(stack, mark)
    assert second.returncode == 3
    assert f"pid {running.pid} holds 'dlq'" in second.stderr
    running.send_signal(signal.SIGINT)
    out, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Interrupted: " in out
    assert "Traceback" not in errors
    assert set(states(stack, mark)) == {"open", "replayed"}
    assert len(sent(stack, mark)) == states(stack, mark)["replayed"] < 300
    assert replay(stack, mark).returncode == 0
    found = sent(stack, mark)
    assert len(found) == len({one.letter for one in found}) == 300


def test_the_fourth_try_and_other_stages_need_more_than_a_wish(
    stack: TestStack, mark: str
) -> None:
    good, third, other, large = write_letters(stack.settings(), [
        *of(mark, 1), *of(mark, 1, attempt=3), *of(mark, 1, stage=Stage.REFERENCE),
        Written(bytes(2**20), tenant=mark, reason=Reason.TOO_LARGE),
    ], partition=1)
    refused = stack.run("dlq", "replay", good, third, other, "--yes")
    assert refused.returncode == 3
    assert "2 of 3 letters are refused" in refused.stderr
    assert "tried 3 times" in refused.stdout
    assert "of a stage that this version" in refused.stdout
    assert sent(stack, mark) == []
    assert stack.run("dlq", "replay", large, "--yes", "--force").returncode == 3
    planned = json.loads(replay(stack, mark, "--dry-run", "--json").stdout)
    assert planned["planned"] == 1
    assert planned["left_out"] == {"too_many_attempts": 1, "other_stage": 1, "too_large": 1}
    assert sent(stack, mark) == []
    done = replay(stack, mark)
    assert done.returncode == 0
    assert "1 of 1 letters were sent" in done.stdout
    assert stack.ok("dlq", "replay", third, good, "--yes", "--force")
    assert {(one.letter, one.attempt) for one in sent(stack, mark)} == {(good, 2), (third, 4)}
    assert len(sent(stack, mark)) == 2


def test_discarded_letters_are_left_alone(stack: TestStack, mark: str) -> None:
    names = write_letters(stack.settings(), of(mark, 3), partition=2)
    assert stack.run("dlq", "discard", names[0]).returncode == 2
    done = json.loads(stack.ok("dlq", "discard", "--tenant", mark, "--note", "a test's own",
                               "--yes", "--json"))
    assert done["discarded"] == 3
    assert states(stack, mark) == {"discarded": 3}
    assert json.loads(replay(stack, mark, "--json").stdout)["planned"] == 0
    assert stack.run("dlq", "replay", names[0], "--yes").returncode == 3
    assert sent(stack, mark) == []
    assert stack.run("dlq", "replay", names[0], "--yes", "--force").returncode == 0
    assert [one.letter for one in sent(stack, mark)] == [names[0]]
    assert stack.run("dlq", "discard", names[0], "--note", "x", "--yes").returncode == 3
    shown = stack.ok("dlq", "show", names[0])
    assert "discarded by" in shown
    assert "a test's own" in shown
    assert "replayed as attempt 2" in shown


def test_a_letter_is_shown_with_its_ancestors_and_its_bytes(
    stack: TestStack, mark: str, tmp_path: Path
) -> None:
    settings = stack.settings()
    stack.ok("events", "produce", "--count", "1")
    [first] = write_letters(settings, of(mark, 1), partition=3)
    stack.ok("dlq", "replay", first, "--yes")
    [second] = write_letters(settings, of(mark, 1, attempt=2, replay_of=first), partition=3)
    raw = tmp_path / "raw"
    page = json.loads(stack.ok("dlq", "show", second, "--raw", str(raw), "--json"))
    assert raw.read_bytes() == of(mark, 1)[0].payload
    assert page["state"] == "open"
    assert page["payload"]["schema_id"] == 999
    assert page["payload"]["hex"] == raw.read_bytes().hex()
    assert "sluice schema register" in page["mend"]
    assert [entry["letter"] for entry in page["ancestors"]] == [first]
    assert [entry["action"] for entry in page["ancestors"][0]["actions"]] == ["replayed"]
    text = stack.ok("dlq", "show", second)
    assert f"it came from {first}" in text
    assert "00 00 00 03 e7" in text
    assert max(map(len, text.splitlines())) <= 100


def test_letters_are_listed_by_what_they_are(stack: TestStack, mark: str) -> None:
    settings = stack.settings()
    write_letters(settings, of(mark, 30), partition=0)
    write_letters(settings, [Written(b"x", Reason.NOT_WIRE_FORMAT, tenant=mark)], partition=1)
    newest = write_letters(settings, [
        Written(b"", Reason.EMPTY, tenant=mark, detail="d" * 300)
    ], partition=3)
    shown = stack.ok("dlq", "list", "--tenant", mark, "--limit", "3")
    assert shown.splitlines()[1].startswith(newest[0])
    assert "not_wire_format" in shown.splitlines()[2]
    assert "unknown_schema" in shown.splitlines()[3]
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 100
    assert "there are more" in shown

    def reasons(*options: str) -> Counter[str]:
        listed = json.loads(stack.ok("dlq", "list", "--tenant", mark, "--json", *options))
        return Counter(entry["reason"] for entry in listed)

    assert reasons() == {"unknown_schema": 30, "not_wire_format": 1, "empty": 1}
    assert reasons("--reason", "empty", "--reason", "not_wire_format").total() == 2
    assert reasons("--final") == {"not_wire_format": 1, "empty": 1}
    assert reasons("--retriable") == {"unknown_schema": 30}
    assert reasons("--since", "1h").total() == 32
    assert reasons("--until", "1h").total() == 0
    assert reasons("--stage", "search").total() == 0
    assert reasons("--state", "replayed").total() == 0
    summary = stack.ok("dlq", "list", "--tenant", mark, "--summary")
    assert re.search(r"unknown_schema +30 +30", summary)
    assert stack.run("dlq", "list", "--reason", "bad_luck").returncode == 2


def test_what_is_not_there_is_said(stack: TestStack) -> None:
    settings = stack.settings()
    write_letters(settings, of("x", 1), partition=0)
    gone = stack.run("dlq", "show", "0:99999")
    assert gone.returncode == 1
    assert "There is no letter 0:99999" in gone.stderr
    assert "no partition 77" in stack.run("dlq", "replay", "77:0", "--yes").stderr
    dsn = settings.timescale_dsn.get_secret_value()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS bare")
        connection.execute("CREATE DATABASE bare")
    bare = stack.run("dlq", "list", SLUICE_TIMESCALE_DSN=re.sub(r"/\w+$", "/bare", dsn))
    assert bare.returncode == 1
    assert "sluice db migrate" in bare.stderr
    away = stack.run("dlq", "list", SLUICE_REGISTRY_URL="http://127.0.0.1:1")
    assert away.returncode == 1
    assert "registry" in away.stderr
    assert "Traceback" not in away.stderr + bare.stderr + gone.stderr


def test_a_broker_that_dies_in_a_batch_costs_nothing_but_time(
    stack: TestStack, mark: str
) -> None:
    write_letters(stack.settings(), of(mark, 600))
    running = subprocess.Popen(
        [SLUICE, "dlq", "replay", "--tenant", mark, "--yes"], text=True,
        env=stack.environment(SLUICE_FAULT=f"stop-{Point.SENT}:2"), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process = psutil.Process(running.pid)
    wait_until("stopped", lambda: process.status() == psutil.STATUS_STOPPED)
    stack.kill("kafka")
    os.kill(running.pid, signal.SIGCONT)
    stack.ok("stack", "up")
    _, errors = running.communicate(timeout=180)
    assert running.returncode in (0, 1)
    assert "Traceback" not in errors
    expire(stack)
    ended = replay(stack, mark)
    assert ended.returncode == 0, ended.stderr
    found = sent(stack, mark)
    assert len(found) == len({one.letter for one in found}) == 600
