"""Events on their way into Kafka, and what `make run` shows of it."""

import hashlib
import json
import signal
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from kafka import KafkaProducer

from control.events.reader import open_reader
from control.kafka import create_topics
from control.topics import TOPICS
from tests.kit.jobs import end_all_jobs
from tests.kit.kafka import read_committed
from tests.kit.stack import SLUICE, TestStack
from tests.kit.wait import wait_until


def test_produced_events_carry_the_ids_of_their_schemas(stack: TestStack) -> None:
    topic = new_topic(stack, "test.ids")
    sent = json.loads(stack.ok(
        "events", "produce", "--count", "1000", "--seed", "7", "--topic", topic, "--json"
    ))
    assert sent["count"] == 1000
    assert sum(sent["domains"].values()) == 1000
    values = read_committed(stack.settings().kafka_bootstrap, topic, 1000)
    url = stack.settings().registry_url.get_secret_value()
    ids = {struct.unpack(">bI", value[:5]) for value in values}
    assert {magic for magic, _ in ids} == {0}
    names = set()
    for _, number in ids:
        answer = httpx.get(f"{url}/schemas/ids/{number}", timeout=10)
        names.add(json.loads(answer.json()["schema"])["name"])
    assert names == {"User", "Transaction", "System"}


@pytest.fixture(scope="module")
def load(stack: TestStack) -> str:
    """Make a topic of this module's own that takes huge messages."""
    return new_topic(stack, "test.load")


def new_topic(stack: TestStack, name: str) -> str:
    raw = next(topic for topic in TOPICS if topic.name == "events.raw")
    create_topics(stack.settings().kafka_bootstrap, (replace(raw, name=name),), 1)
    return name


def manifest_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ids_in(values: list[bytes]) -> list[str]:
    """Return the event ids of sound events: the first field, 36 bytes after one for its length."""
    return [value[6:42].decode() for value in values]


def test_the_manifest_is_what_the_topic_holds(
    stack: TestStack, load: str, tmp_path: Path
) -> None:
    path = tmp_path / "manifest.jsonl"
    sent = json.loads(stack.ok(
        "events", "produce", "--count", "5000", "--duplicates", "0.05", "--late", "0.02",
        "--invalid", "0.03", "--poison", "0.02", "--manifest", str(path), "--topic", load, "--json",
    ))
    lines = manifest_of(path)
    assert sent["count"] == len(lines) == 5000
    values = read_committed(stack.settings().kafka_bootstrap, load, 5000)
    assert len(values) == 5000
    broken = Counter(line["sha256"] for line in lines if line["expect"] == "dlq")
    digests = Counter(hashlib.sha256(value).hexdigest() for value in values)
    for digest, count in broken.items():
        assert digests[digest] == count
    sound = [value for value in values if hashlib.sha256(value).hexdigest() not in broken]
    assert Counter(ids_in(sound)) == Counter(
        line["event_id"] for line in lines if line["expect"] != "dlq"
    )
    assert max(map(len, values)) > 1.4 * 2**20
    assert {line["reason"] for line in lines if line["expect"] == "dlq"} == {
        "empty", "too_large", "not_wire_format", "unknown_schema", "wrong_record", "undecodable",
        "missing_field", "bad_uuid", "too_old", "too_far_ahead", "bad_amount", "unknown_event_type",
    }


def test_a_tenant_lies_where_every_kafka_client_puts_it(stack: TestStack, load: str) -> None:
    stack.ok("events", "produce", "--count", "500", "--topic", load)
    bootstrap = stack.settings().kafka_bootstrap
    with open_reader(bootstrap) as reader:
        found = {
            record.key: record.partition
            for record in reader.follow(load, from_start=True, to_end=True)
        }
    assert len(found) > 10
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    try:
        for key, partition in found.items():
            assert producer.send(load, key=key, value=b"x").get(timeout=30).partition == partition
    finally:
        producer.close()


def test_the_rate_is_kept_and_the_time_ends_it(stack: TestStack, load: str) -> None:
    sent = json.loads(stack.ok(
        "events", "produce", "--duration", "3", "--rate", "300", "--topic", load, "--json"
    ))
    # A busy machine makes it less, nothing makes it more.
    assert 100 <= sent["count"] <= 910


def start(stack: TestStack, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [SLUICE, *arguments], env=stack.environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )


def lines_in(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def test_after_ctrl_c_the_manifest_is_what_the_topic_holds(
    stack: TestStack, tmp_path: Path
) -> None:
    topic, path = new_topic(stack, "test.interrupted"), tmp_path / "m"
    running = start(stack, "events", "produce", "--count", "500000", "--rate", "2000",
                    "--manifest", str(path), "--topic", topic)
    wait_until("some messages", lambda: lines_in(path) > 2_000)
    running.send_signal(signal.SIGINT)
    out, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Interrupted: " in out
    assert "Traceback" not in errors
    listed = [line["event_id"] for line in manifest_of(path)]
    values = read_committed(stack.settings().kafka_bootstrap, topic, len(listed))
    assert Counter(ids_in(values)) == Counter(listed)


def test_after_a_kill_nothing_is_in_the_topic_that_the_manifest_does_not_list(
    stack: TestStack, tmp_path: Path
) -> None:
    topic, path = new_topic(stack, "test.killed"), tmp_path / "m"
    running = start(stack, "events", "produce", "--count", "500000", "--manifest", str(path),
                    "--topic", topic)
    wait_until("some messages", lambda: lines_in(path) > 5_000, pause=0.01)
    running.kill()
    running.communicate(timeout=60)
    listed = {line["event_id"] for line in manifest_of(path)}
    found = ids_in(read_committed(stack.settings().kafka_bootstrap, topic, len(listed), seconds=8))
    assert found
    assert set(found) <= listed


def test_a_broker_that_dies_and_comes_back_costs_nothing_but_time(
    stack: TestStack, tmp_path: Path
) -> None:
    topic, path = new_topic(stack, "test.broker"), tmp_path / "m"
    running = start(stack, "events", "produce", "--count", "12000", "--rate", "2000", "--manifest",
                    str(path), "--topic", topic, "--json")
    wait_until("some messages", lambda: lines_in(path) > 3_000)
    stack.kill("kafka")
    stack.ok("stack", "up", "--only", "kafka")
    out, errors = running.communicate(timeout=200)
    assert running.returncode == 0, errors
    assert json.loads(out)["count"] == 12_000
    listed = [line["event_id"] for line in manifest_of(path)]
    values = read_committed(stack.settings().kafka_bootstrap, topic, 12_000)
    assert Counter(ids_in(values)) == Counter(listed)


def test_tail_decodes_what_it_can_and_tells_what_it_cannot(stack: TestStack) -> None:
    topic = new_topic(stack, "test.tail")
    stack.ok("events", "produce", "--count", "400", "--topic", topic, "--invalid", "0.2",
             "--poison", "0.2")
    shown = stack.ok("events", "tail", topic, "--from-start", "--no-follow").splitlines()
    assert len(shown) == 400
    assert any("undecodable" in line for line in shown)
    records = [json.loads(line) for line in stack.ok(
        "events", "tail", topic, "--from-start", "--no-follow", "--json"
    ).splitlines()]
    assert len(records) == 400
    decoded = [record["fields"] for record in records if "fields" in record]
    wanted = Counter(fields["tenant_id"] for fields in decoded if "event_type" in fields)
    tenant, count = wanted.most_common(1)[0]
    picked = stack.ok("events", "tail", topic, "--from-start", "--no-follow", "--tenant", tenant,
                      "--json").splitlines()
    assert len([line for line in picked if "event_type" in json.loads(line)["fields"]]) == count
    two = stack.ok("events", "tail", topic, "--from-start", "--domain", "user", "--count", "2")
    assert two.count("user.") >= 2
    assert len(two.splitlines()) == 2


def test_tail_follows_and_ends_on_ctrl_c(stack: TestStack) -> None:
    topic = new_topic(stack, "test.follow")
    stack.ok("events", "produce", "--count", "5", "--topic", topic)
    old = stack.ok("events", "tail", topic, "--from-start", "--no-follow", "--json").splitlines()
    assert len(old) == 5
    running = start(stack, "events", "tail", topic, "--json")
    assert running.stdout is not None
    shown: list[str] = []
    Thread(target=lambda: shown.extend(running.stdout or ()), daemon=True).start()

    def seen() -> bool:
        stack.ok("events", "produce", "--count", "3", "--seed", "77", "--topic", topic)
        return len(shown) >= 3

    wait_until("the new ones shown", seen)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=30) == 0
    assert not {json.loads(line)["fields"]["event_id"] for line in shown} & {
        json.loads(line)["fields"]["event_id"] for line in old
    }


def test_what_was_not_committed_is_not_shown(stack: TestStack) -> None:
    topic = new_topic(stack, "test.transactions")
    bootstrap = stack.settings().kafka_bootstrap
    producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id="test-tail")
    producer.init_transactions()
    try:
        for value, end in ((b"one", producer.commit_transaction),
                           (b"two", producer.abort_transaction),
                           (b"three", producer.commit_transaction)):
            producer.begin_transaction()
            producer.send(topic, key=b"k", value=value).get(timeout=30)
            end()
        producer.begin_transaction()
        producer.send(topic, key=b"k", value=b"open").get(timeout=30)
        shown = stack.ok("events", "tail", topic, "--from-start", "--no-follow", "--json")
        producer.abort_transaction()
    finally:
        producer.close()
    assert [bytes.fromhex(json.loads(line)["hex"]) for line in shown.splitlines()] == [
        b"one", b"three"
    ]


def test_show_finds_an_event_wherever_it_lies(stack: TestStack, tmp_path: Path) -> None:
    topic, path = new_topic(stack, "test.show"), tmp_path / "m"
    stack.ok("events", "produce", "--count", "30000", "--manifest", str(path), "--topic", topic,
             "--tenants", "3")
    listed = manifest_of(path)
    for line in (listed[0], listed[15_000], listed[-1]):
        found = json.loads(stack.ok(
            "events", "show", line["event_id"].upper(), "--topic", topic, "--json"
        ))
        assert found["topic"] == topic
        assert found["fields"]["event_id"] == line["event_id"]
        assert found["fields"]["occurred_at"] == line["occurred_at"]
        assert found["key"] == line["tenant_id"]
    page = stack.ok("events", "show", listed[0]["event_id"], "--topic", topic)
    assert f"Found in {topic}, partition " in page
    assert listed[0]["event_id"] in page


def test_show_says_where_it_looked_in_vain(stack: TestStack, load: str) -> None:
    done = stack.run("events", "show", "00000000-0000-4000-a000-000000000000", "--limit", "100")
    assert done.returncode == 1
    assert "events.clean, events.dlq, events.raw" in done.stderr
    missing = stack.run("events", "show", "x", "--topic", "no.such.topic")
    assert missing.returncode == 2
    assert "no topic 'no.such.topic'" in missing.stderr


def test_tenants_are_set_changed_and_forgotten(stack: TestStack) -> None:
    def listed() -> dict[str, dict[str, Any]]:
        return {entry["tenant_id"]: entry
                for entry in json.loads(stack.ok("tenants", "list", "--json"))}

    stack.ok("tenants", "seed", "--count", "3")
    assert {"tenant-0001", "tenant-0002", "tenant-0003"} <= set(listed())
    stack.ok("tenants", "set", "acme", "--name", "Acme [1]", "--tier", "team")
    stack.ok("tenants", "set", "acme", "--region", "moon", "--tier", "")
    assert listed()["acme"] == {
        "tenant_id": "acme", "name": "Acme [1]", "tier": None, "region": "moon"
    }
    assert "Acme [1]" in stack.ok("tenants", "list")
    stack.ok("tenants", "remove", "acme")
    assert "acme" not in listed()
    again = stack.run("tenants", "remove", "acme")
    assert again.returncode == 1
    assert "No tenant acme is known" in again.stderr


def test_reference_data_is_in_the_registrys_wire_format(stack: TestStack) -> None:
    stack.ok("tenants", "set", "wire", "--tier", "free")
    values = read_committed(stack.settings().kafka_bootstrap, "reference.tenants", 1, seconds=10)
    magic, number = struct.unpack(">bI", values[-1][:5])
    url = stack.settings().registry_url.get_secret_value()
    answer = httpx.get(f"{url}/schemas/ids/{number}", timeout=10).json()
    assert magic == 0
    assert json.loads(answer["schema"])["name"] == "Tenant"


@pytest.fixture
def _no_jobs_after(stack: TestStack) -> Iterator[None]:
    yield
    end_all_jobs(stack)


def test_the_demo_shows_what_came_out(stack: TestStack) -> None:
    printed = stack.ok("demo", "--count", "1500", "--rate", "3000")
    assert "ingest runs as job" in printed
    assert "Exactly." in printed, printed
    assert "Dead letters:" in printed
    assert "1,500 events acknowledged" in printed
    row = next(line for line in printed.splitlines() if line.startswith("topic events.raw"))
    assert "+1,500" in row
    assert "make down" in printed
    assert {entry["state"] for entry in stack.status().values()} == {"up"}


@pytest.mark.usefixtures("_no_jobs_after")
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
    assert "Exactly." in out, out
    assert "make down" in out
