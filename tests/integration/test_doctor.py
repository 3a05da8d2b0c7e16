"""The doctor finds what is broken and names what mends it."""

import json
import os
import signal
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest

from control.kafka import admin_client
from control.registry import RegistryClient
from tests.kit.stack import TestStack


@pytest.fixture
def healthy(stack: TestStack) -> Iterator[TestStack]:
    """Yield the whole stack, and mend it afterwards with what the doctor recommends."""
    stack.ok("stack", "up")
    yield stack
    stack.ok("stack", "up")


def _findings(stack: TestStack, **environment: str) -> dict[str, dict[str, str]]:
    done = stack.run("doctor", "--json", **environment)
    findings = {entry["check"]: entry for entry in json.loads(done.stdout)}
    broken = [entry for entry in findings.values() if entry["verdict"] == "failed"]
    assert done.returncode == (1 if broken else 0)
    for entry in broken:
        assert entry["remedy"], entry
    return findings


def test_a_healthy_stack(healthy: TestStack) -> None:
    findings = _findings(healthy)
    assert {entry["verdict"] for entry in findings.values()} <= {"ok", "warning"}
    assert {"python", "java", "java: elasticsearch", "disk", "memory", "open files", "ports",
            "kafka", "topics", "compatibility", "timescaledb", "migrations", "index template",
            "flink slots", "checkpoints", "savepoints", "schemas"} <= findings.keys()
    assert "plain PostgreSQL" in findings["timescaledb"]["detail"]
    assert findings["flink slots"]["detail"].endswith("of 9 free")


def test_a_dead_server(healthy: TestStack) -> None:
    healthy.kill("kafka")
    findings = _findings(healthy)
    assert findings["kafka"]["verdict"] == "failed"
    assert findings["kafka"]["remedy"] == "sluice stack up"
    assert findings["topics"]["verdict"] == "skipped"


def test_a_silent_server(healthy: TestStack) -> None:
    pid = healthy.pid("registry")
    os.kill(pid, signal.SIGSTOP)
    try:
        findings = _findings(healthy)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert findings["registry"]["verdict"] == "failed"
    assert findings["registry"]["remedy"] == "sluice stack logs registry"


def test_a_missing_topic(healthy: TestStack) -> None:
    with admin_client(healthy.settings().kafka_bootstrap) as admin:
        admin.delete_topics(["commands"])
    finding = _findings(healthy)["topics"]
    assert finding["verdict"] == "failed"
    assert "commands" in finding["detail"]


def test_a_wrong_compatibility(healthy: TestStack) -> None:
    with RegistryClient(healthy.settings().registry_url) as registry:
        registry.set_compatibility("NONE")
    finding = _findings(healthy)["compatibility"]
    assert finding["verdict"] == "failed"
    assert "NONE" in finding["detail"]
    # What it recommends does mend it.
    healthy.ok(*finding["remedy"].removeprefix("sluice ").split())
    assert _findings(healthy)["compatibility"]["verdict"] == "ok"


def test_a_missing_index_template(healthy: TestStack) -> None:
    url = healthy.settings().elasticsearch_url.get_secret_value()
    httpx.delete(f"{url}/_index_template/sluice-events", timeout=30).raise_for_status()
    assert _findings(healthy)["index template"]["detail"] == "missing"


def test_a_migration_that_is_not_applied(healthy: TestStack) -> None:
    dsn = healthy.settings().timescale_dsn.get_secret_value()
    with psycopg.connect(dsn, autocommit=True) as connection:
        # As if the newest one had never run; whatever it made stays.
        connection.execute(
            "CREATE TABLE control.aside AS SELECT * FROM control.migrations"
            " ORDER BY number DESC LIMIT 1")
        connection.execute(
            "DELETE FROM control.migrations WHERE number = (SELECT number FROM control.aside)")
        try:
            finding = _findings(healthy)["migrations"]
        finally:
            connection.execute("INSERT INTO control.migrations SELECT * FROM control.aside")
            connection.execute("DROP TABLE control.aside")
    assert finding["verdict"] == "failed"
    assert finding["remedy"] == "sluice db migrate"
    assert _findings(healthy)["migrations"]["verdict"] == "ok"


def test_a_checkpoint_folder_that_is_gone(healthy: TestStack) -> None:
    folder = healthy.home / "savepoints"
    aside = folder.with_name("savepoints-aside")
    folder.rename(aside)
    try:
        finding = _findings(healthy)["savepoints"]
    finally:
        aside.rename(folder)
    assert finding["verdict"] == "failed"
    assert "taskmanager-1" in finding["detail"]


def test_a_misspelt_setting(healthy: TestStack) -> None:
    finding = _findings(healthy, SLUICE_KAFKA_BOOSTRAP="127.0.0.1:1")["settings"]
    assert finding["verdict"] == "warning"
    assert "SLUICE_KAFKA_BOOSTRAP" in finding["detail"]


def test_a_server_of_ones_own_that_is_away(healthy: TestStack) -> None:
    findings = _findings(healthy, SLUICE_ELASTICSEARCH_URL="http://127.0.0.1:1")
    assert findings["elasticsearch"]["verdict"] == "failed"
    assert "127.0.0.1:1" in findings["elasticsearch"]["remedy"]


def test_the_table_for_a_person(healthy: TestStack) -> None:
    printed = healthy.ok("doctor")
    assert "verdict" in printed
    assert "What to do:" in printed
    assert "timescale-wasm" in printed


def test_before_anything_was_started(small_stack: Callable[..., TestStack]) -> None:
    stack = small_stack()
    done = stack.run("doctor", "--json")
    findings = {entry["check"]: entry for entry in json.loads(done.stdout)}
    assert done.returncode == 0, "nothing is broken: it was never started"
    assert findings["kafka"]["remedy"] == "sluice stack up"
    assert not (stack.home / "stack.json").exists(), "looking must not change anything"
