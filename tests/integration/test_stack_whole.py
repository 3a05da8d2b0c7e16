"""The whole stack: what it shows, what survives a kill -9."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import redis

import control.search
from control.search import BusyError, search
from control.settings import load_settings
from tests.kit.kafka import make_topic, read_committed, send
from tests.kit.stack import TestStack

SERVERS = ["kafka", "registry", "postgres", "elasticsearch", "redis", "zookeeper", "jobmanager",
           "taskmanager-1", "taskmanager-2", "taskmanager-3"]

IDLE_MEMORY_MB = 4096
_WANTED_NODE = "index.routing.allocation.require._name"


def test_status_shows_every_server_with_all_fields(stack: TestStack) -> None:
    entries = stack.status()
    assert sorted(entries) == sorted(SERVERS)
    for entry in entries.values():
        assert entry["state"] == "up", entry
        assert entry["version"] and entry["address"] and entry["log"]
        assert psutil.pid_exists(entry["pid"])
        assert entry["memory_mb"] > 0
        assert Path(entry["log"]).exists()
    assert stack.run("stack", "status").returncode == 0


def test_idle_servers_stay_below_their_memory(stack: TestStack) -> None:
    # Those of the tests before have worked; a JVM gives nothing back.
    stack.ok("stack", "down")
    stack.ok("stack", "up")
    assert sum(entry["memory_mb"] for entry in stack.status().values()) < IDLE_MEMORY_MB


def test_every_server_listens_on_loopback_only(stack: TestStack) -> None:
    listening = [
        (process.name(), connection.laddr.ip)
        for process in stack.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= len(SERVERS)
    assert {address for _, address in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_elasticsearch_has_no_class_archive(stack: TestStack) -> None:
    # With one a search now and then lacked what a shard held, and said so in a corner of its
    # answer: docs/adr/0002.
    options = psutil.Process(stack.pid("elasticsearch")).cmdline()
    assert not [option for option in options if "Archive" in option]
    kafka = psutil.Process(stack.pid("kafka")).cmdline()
    assert [option for option in kafka if "Archive" in option]


def test_a_second_up_changes_nothing(stack: TestStack) -> None:
    before = {name: entry["pid"] for name, entry in stack.status().items()}
    printed = stack.ok("stack", "up")
    assert printed.count("already running") == len(SERVERS)
    assert {name: entry["pid"] for name, entry in stack.status().items()} == before


def test_metrics_are_served_for_prometheus(stack: TestStack) -> None:
    ports = json.loads((stack.home / "stack.json").read_text())["ports"]
    for name in ("jobmanager", "taskmanager-1"):
        answer = httpx.get(f"http://127.0.0.1:{ports[name]['metrics']}/metrics", timeout=10)
        assert f"flink_{name.partition('-')[0]}_Status_JVM_Memory_Heap_Used" in answer.text


def test_flink_has_its_profile(stack: TestStack) -> None:
    entries = httpx.get(f"{stack.settings().flink_url}/jobmanager/config", timeout=10).json()
    config = {entry["key"]: entry["value"] for entry in entries}
    assert config["pipeline.max-parallelism"] == "720"
    assert config["state.backend.type"] == "rocksdb"
    assert config["high-availability.type"] == "zookeeper"
    overview = httpx.get(f"{stack.settings().flink_url}/overview", timeout=10).json()
    assert overview["slots-total"] == 9


def test_the_addresses_reach_other_tools(stack: TestStack) -> None:
    exported = dict(
        line.removeprefix("export ").split("=", 1)
        for line in stack.ok("stack", "env").splitlines()
    )
    with psycopg.connect(exported["SLUICE_TIMESCALE_DSN"]) as connection:
        row = connection.execute("SELECT current_database()").fetchone()
    assert row == ("sluice",)


def test_logs_are_shown_as_json_lines(stack: TestStack) -> None:
    line = json.loads(stack.ok("stack", "logs", "jobmanager", "-n", "1").splitlines()[-1])
    assert {"time", "level", "logger", "message"} <= line.keys()


def _kafka(stack: TestStack) -> Callable[[], None]:
    bootstrap = stack.settings().kafka_bootstrap
    make_topic(bootstrap, "survives")
    values = [b"%d" % number for number in range(500)]
    send(bootstrap, "survives", values)

    def check() -> None:
        address = load_settings(home=stack.home).kafka_bootstrap
        assert read_committed(address, "survives", len(values)) == values

    return check


def _registry(stack: TestStack) -> Callable[[], None]:
    url = stack.settings().registry_url.get_secret_value()

    def register(name: str) -> int:
        schema = json.dumps({"type": "record", "name": name, "fields": []})
        answer = httpx.post(
            f"{url}/subjects/{name}/versions", json={"schema": schema}, timeout=10
        )
        answer.raise_for_status()
        return int(answer.json()["id"])

    # The kill follows the last answer at once: an id given away must not be given away again.
    ids = {f"Survives{number}": register(f"Survives{number}") for number in range(5)}

    def check() -> None:
        assert {name: register(name) for name in ids} == ids
        assert register("AfterTheKill") not in ids.values()

    return check


def _postgres(stack: TestStack) -> Callable[[], None]:
    dsn = stack.settings().timescale_dsn.get_secret_value()
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE survives AS SELECT generate_series(1, 1000) AS number")

    def check() -> None:
        with psycopg.connect(dsn) as connection:
            row = connection.execute("SELECT count(*) FROM survives").fetchone()
            connection.execute("DROP TABLE survives")
        assert row == (1000,)

    return check


def _elasticsearch(stack: TestStack) -> Callable[[], None]:
    url = f"{stack.settings().elasticsearch_url.get_secret_value()}/events-2026.01.01"
    body = {"event_id": "1", "tenant_id": "a"}
    httpx.put(f"{url}/_doc/1", json=body, timeout=30).raise_for_status()

    def check() -> None:
        assert httpx.get(f"{url}/_doc/1", timeout=30).json()["_source"] == body
        httpx.delete(url, timeout=30).raise_for_status()

    return check


def _redis(stack: TestStack) -> Callable[[], None]:
    url = stack.settings().redis_url.get_secret_value()
    with redis.Redis.from_url(url) as client:
        client.set("survives", "yes")
        # Its log is written each second: what is younger may go, that is the price of a cache.
        client.config_set("appendfsync", "always")
        client.set("survives-too", "yes")

    def check() -> None:
        with redis.Redis.from_url(url) as after:
            assert after.mget("survives", "survives-too") == [b"yes", b"yes"]

    return check


PREPARE: dict[str, Callable[[TestStack], Callable[[], None]]] = {
    "kafka": _kafka, "registry": _registry, "postgres": _postgres,
    "elasticsearch": _elasticsearch, "redis": _redis,
}


@pytest.mark.parametrize("server", PREPARE)
def test_a_killed_server_comes_back_with_its_data(stack: TestStack, server: str) -> None:
    check = PREPARE[server](stack)
    others = {name: entry["pid"] for name, entry in stack.status().items() if name != server}
    killed = stack.kill(server)

    shown = stack.run("stack", "status", "--json")
    states: dict[str, Any] = {entry["component"]: entry["state"]
                              for entry in json.loads(shown.stdout)}
    assert shown.returncode == 1
    assert states[server] == "down"

    printed = stack.ok("stack", "up")
    assert printed.count("restarted") == 1
    after = {name: entry["pid"] for name, entry in stack.status().items()}
    assert after.pop(server) != killed
    assert after == others
    check()


def test_a_silent_server_is_not_called_up(stack: TestStack) -> None:
    pid = stack.pid("redis")
    os.kill(pid, signal.SIGSTOP)
    try:
        entry = stack.status()["redis"]
        assert entry["state"] == "silent"
        assert entry["pid"] == pid
        assert stack.run("stack", "status").returncode == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    assert stack.status()["redis"]["state"] == "up"


def test_the_index_template_is_strict(stack: TestStack) -> None:
    url = f"{stack.settings().elasticsearch_url.get_secret_value()}"
    refused = httpx.put(
        f"{url}/events-2026.01.02/_doc/1", json={"nonsense": 1}, timeout=30
    )
    assert refused.status_code == 400
    assert "strict_dynamic_mapping" in refused.text
    nowhere = httpx.put(f"{url}/typo-2026/_doc/1", json={"event_id": "1"}, timeout=30)
    assert nowhere.status_code == 404
    httpx.delete(f"{url}/events-2026.01.02", timeout=30)


@pytest.fixture
def index_nowhere(stack: TestStack) -> Iterator[str]:
    """Yield the address of a daily index whose only shard is nowhere: no node has this name."""
    url = f"{stack.settings().elasticsearch_url.get_secret_value()}/events-2001.01.01"
    httpx.put(f"{url}?wait_for_active_shards=0", timeout=30, json={
        "settings": {_WANTED_NODE: "nobody"},
    }).raise_for_status()
    yield url
    httpx.delete(url, timeout=30).raise_for_status()


def test_a_search_does_not_leave_out_what_a_shard_holds(
    stack: TestStack, index_nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control.search, "_PATIENCE_SECONDS", 1)
    with pytest.raises(BusyError, match="missing shards"):
        search(stack.settings().elasticsearch_url, "/events/_search", {"size": 1})


def test_a_search_waits_for_a_shard(stack: TestStack, index_nowhere: str) -> None:
    def place() -> None:
        httpx.put(f"{index_nowhere}/_settings", timeout=30,
                  json={_WANTED_NODE: None}).raise_for_status()

    later = Timer(1, place)
    later.start()
    answer = search(stack.settings().elasticsearch_url, "/events/_search", {"size": 1})
    later.join()
    assert answer["_shards"]["successful"] == answer["_shards"]["total"] > 0
