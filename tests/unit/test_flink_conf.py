"""Both Flink profiles, held against the Flink that is installed."""

import re
import struct
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from control.settings import PROJECT_ROOT
from control.stack.servers.flink_conf import read_profile
from control.stack.servers.flink_dist import FLINK_DIST

PROFILES = ("local", "production")
EVERY_PROFILE = pytest.mark.parametrize("profile", PROFILES)

# The reporter's name is ours; what follows it is Flink's.
_REPORTER = re.compile(r"(metrics\.reporter\.)[a-z]+\.(.+)")
# RocksDB's properties become keys by a template.
_ROCKSDB_PROPERTY = re.compile(r"(state\.backend\.rocksdb\.metrics\.)(.+)")

_OPTION_CLASS = re.compile(
    r"org/apache/flink/.*(Options|ReporterFactory|/ConfigConstants|/RocksDBProperty)\.class"
)

# Lines that need no reason: the value is Flink's default, or Flink has none and wants one.
_NEEDS_NO_REASON = {
    "local": set[str](),
    "production": set[str](),
}


def _file(profile: str) -> Path:
    return PROJECT_ROOT / "flink-conf" / profile / "config.yaml"


@cache
def _settings(profile: str) -> dict[str, Any]:
    return read_profile(_file(profile))


def _option_classes() -> Iterator[bytes]:
    """Return the classes that declare options, as bytes."""
    jars = [
        *FLINK_DIST.glob("lib/flink-dist-*.jar"),
        *FLINK_DIST.glob("opt/flink-python-*.jar"),
        *FLINK_DIST.glob("plugins/metrics-prometheus/*.jar"),
    ]
    assert len(jars) == 3
    for jar in jars:
        with zipfile.ZipFile(jar) as archive:
            for name in archive.namelist():
                if _OPTION_CLASS.fullmatch(name):
                    yield archive.read(name)


@cache
def _constants() -> bytes:
    return b"".join(_option_classes())


def _is_declared(text: str) -> bool:
    """Look for a string constant: in a class file one is a tag, a length, and the bytes."""
    encoded = text.encode()
    return struct.pack(">BH", 1, len(encoded)) + encoded in _constants()


def _is_option(key: str) -> bool:
    if reporter := _REPORTER.fullmatch(key):
        return _is_declared(reporter[1]) and _is_declared(reporter[2])
    if (metric := _ROCKSDB_PROPERTY.fullmatch(key)) and _is_declared(metric[2]):
        return _is_declared(f"{metric[1]}%s")
    return _is_declared(key)


def _lines_without_reason(text: str) -> list[str]:
    """Return the keys in blocks that no comment begins; a section's title is not a reason."""
    bare: list[str] = []
    explained = False
    for line in text.splitlines():
        if not line.strip() or line.startswith("# ---"):
            explained = False
        elif line.startswith("#"):
            explained = True
        elif re.match(r"\S+:", line) and not explained:
            bare.append(line.partition(":")[0])
    return bare


def test_a_key_that_flink_does_not_know_is_noticed() -> None:
    assert _is_option("execution.checkpointing.interval")
    assert not _is_option("execution.checkpointing.intervall")
    assert not _is_option("execution.checkpointing")
    assert not _is_option("metrics.reporter.prom.porto")
    assert not _is_option("state.backend.rocksdb.metrics.is-write-halted")


@EVERY_PROFILE
def test_every_key_is_an_option_of_the_installed_flink(profile: str) -> None:
    unknown = [key for key in _settings(profile) if not _is_option(key)]
    assert unknown == []


@EVERY_PROFILE
def test_no_key_is_written_twice(profile: str) -> None:
    keys = re.findall(r"^([\w.-]+):", _file(profile).read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(keys) == sorted(_settings(profile))


@EVERY_PROFILE
def test_every_line_has_a_reason(profile: str) -> None:
    bare = set(_lines_without_reason(_file(profile).read_text(encoding="utf-8")))
    assert bare <= _NEEDS_NO_REASON[profile]


@EVERY_PROFILE
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("execution.checkpointing.mode", "EXACTLY_ONCE"),
        ("execution.checkpointing.unaligned.enabled", True),
        ("execution.checkpointing.incremental", True),
        ("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION"),
        ("state.backend.type", "rocksdb"),
        ("pipeline.max-parallelism", 720),
        ("taskmanager.network.memory.buffer-debloat.enabled", True),
        ("restart-strategy.type", "exponential-delay"),
        ("metrics.reporters", "prom"),
        ("state.backend.rocksdb.metrics.is-write-stopped", True),
    ],
)
def test_a_promise_is_kept_by_its_setting(profile: str, key: str, value: object) -> None:
    assert _settings(profile)[key] == value


@EVERY_PROFILE
def test_checkpoints_are_on_and_latency_is_bounded(profile: str) -> None:
    settings = _settings(profile)
    assert re.fullmatch(r"\d+s", settings["execution.checkpointing.interval"])
    assert re.fullmatch(r"\d{1,2}ms", settings["execution.buffer-timeout.interval"])


@EVERY_PROFILE
def test_a_broken_job_fails_in_the_end(profile: str) -> None:
    tries = _settings(profile)["restart-strategy.exponential-delay.attempts-before-reset-backoff"]
    assert 5 <= tries <= 50


@EVERY_PROFILE
def test_the_reporter_is_in_the_distribution(profile: str) -> None:
    name = _settings(profile)["metrics.reporter.prom.factory.class"]
    jar = next(FLINK_DIST.glob("plugins/metrics-prometheus/*.jar"))
    with zipfile.ZipFile(jar) as archive:
        assert f"{name.replace('.', '/')}.class" in archive.namelist()


@EVERY_PROFILE
def test_java_is_opened_as_the_distribution_opens_it(profile: str) -> None:
    theirs = set(re.findall(r"--add-\S+", (FLINK_DIST / "conf/config.yaml").read_text()))
    ours = set(_settings(profile)["env.java.opts.all"].split())
    # jdk.compiler is in a JDK only, and no job of ours compiles Java.
    assert {option for option in theirs if "jdk.compiler" not in option} <= ours


def test_the_profiles_agree_on_what_state_depends_on() -> None:
    keys = ("pipeline.max-parallelism", "state.backend.type", "execution.checkpointing.mode")
    assert [_settings("local")[key] for key in keys] == [
        _settings("production")[key] for key in keys
    ]


def test_production_remembers_its_jobs() -> None:
    assert _settings("production")["high-availability.type"] == "zookeeper"


def test_production_leaves_addresses_and_secrets_to_the_cluster() -> None:
    settings = _settings("production")
    for key, value in settings.items():
        assert not re.search(r"password|secret|access-key|token", key), key
        assert "${" not in str(value), f"{key}: Flink does not expand variables"
    for key in ("jobmanager.rpc.address", "high-availability.storageDir",
                "execution.checkpointing.dir", "execution.checkpointing.savepoint-dir"):
        assert key not in settings
        assert key in _file("production").read_text(encoding="utf-8"), f"{key} is not explained"


def test_production_logs_json_to_the_console_like_the_local_stack() -> None:
    local = (_file("local").parent / "log4j.properties").read_text(encoding="utf-8")
    text = (_file("production").parent / "log4j-console.properties").read_text(encoding="utf-8")
    assert "appender.console.type = Console" in text
    assert "appender.console.layout.type = JsonTemplateLayout" in text
    fields = re.compile(r'"(\w+)": \{"\$resolver"')
    assert set(fields.findall(local)) <= set(fields.findall(text))
