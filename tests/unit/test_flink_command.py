"""How Flink's client is called: what it loads, what it sends, where it looks for Flink."""

import os
from pathlib import Path

import pytest

from control import flink_command
from control.flink_command import client_command, connector_jars, sends_jars
from control.settings import Settings, load_settings

CONNECTOR = Path("/cache/flink-sql-connector-kafka.jar")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(flink_command, "_connectors", lambda _context: [CONNECTOR])
    conf = tmp_path / "conf" / "jobmanager" / "config.yaml"
    conf.parent.mkdir(parents=True)
    conf.write_text("high-availability.type: zookeeper\n")
    return load_settings(home=tmp_path)


def elsewhere(settings: Settings, send_jars: bool | None = None) -> Settings:
    return settings.model_copy(update={
        "flink_url": "http://flink:8081", "explicit": frozenset({"flink_url"}),
        "send_jars": send_jars,
    })


def classes(settings: Settings) -> list[str]:
    arguments = client_command(settings, ["-pym", "jobs.driver"]).arguments
    return arguments[arguments.index("-cp") + 1].split(os.pathsep)


def test_the_local_stack_has_all_jars(settings: Settings) -> None:
    assert not sends_jars(settings)
    assert connector_jars(settings) == ()
    assert str(CONNECTOR) in classes(settings)


def test_elsewhere_they_are_sent(settings: Settings) -> None:
    assert sends_jars(elsewhere(settings))
    assert connector_jars(elsewhere(settings)) == (CONNECTOR.as_uri(),)
    assert str(CONNECTOR) not in classes(elsewhere(settings))


def test_a_cluster_can_be_said_to_have_them(settings: Settings) -> None:
    assert connector_jars(elsewhere(settings, send_jars=False)) == ()
    assert str(CONNECTOR) in classes(elsewhere(settings, send_jars=False))


@pytest.mark.parametrize("where", [lambda here: here, elsewhere])
def test_only_the_address_counts(settings: Settings, where: object) -> None:
    found = where(settings)  # type: ignore[operator]
    arguments = client_command(found, []).arguments
    assert "high-availability.type=NONE" in arguments
    assert arguments[arguments.index("-m") + 1] == found.flink_url.partition("//")[2]
