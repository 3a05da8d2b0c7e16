"""The driver when it is told a job's name: how Kubernetes starts a job, without a server."""

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, call

import pytest

from control.errors import MisuseError
from control.render.k8s import Target, session_job, wanted_jobs
from control.settings import load_settings
from jobs.catalogue import JOBS
from jobs.lane import Lane
from jobs.order import Order
from tests.unit.graph_kit import Graph

PARALLELISM = 4


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Return the driver in a Flink that was told a parallelism."""
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    module = importlib.import_module("jobs.driver")
    flink = SimpleNamespace(get_parallelism=lambda: PARALLELISM)
    monkeypatch.setattr(
        module.StreamExecutionEnvironment, "get_execution_environment", lambda: flink
    )
    return module


def own_order(driver: ModuleType, *arguments: str) -> Order:
    name, *own = arguments
    order: Order = driver._own_order(name, own)
    return order


def test_it_understands_the_arguments_that_are_rendered(driver: ModuleType) -> None:
    jobs = wanted_jobs(load_settings(sink_batch_rows=77, checkpoint_seconds=2.5), JOBS)
    job = next(job for job in jobs if job.spec.name == "timescale")
    document = session_job(Target("image", "namespace", "2.2.1"), job)
    option, module, *arguments = document["spec"]["job"]["args"]
    assert (option, module) == ("-pym", driver.__name__)
    order = own_order(driver, *arguments)
    assert (order.job, order.jars, order.tells) == ("timescale", (), {"sluice.job": "timescale"})
    settings = load_settings(**order.settings)
    assert settings.timescale_parallelism == PARALLELISM
    assert settings.sink_batch_rows == 77
    assert settings.checkpoint_seconds == 2.5


def test_the_profile_counts_less_than_the_arguments(
    driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "SLUICE_JOBS",
        '{"search": {"sink_batch_rows": 1, "sink_batch_bytes": 2048, "flink": {"a.b": 5}}}',
    )
    order = own_order(driver, "search", "sink_batch_rows=9")
    settings = load_settings(**order.settings)
    assert (settings.sink_batch_rows, settings.sink_batch_bytes) == (9, 2048)
    assert order.flink == {"a.b": "5"}


def test_a_setting_that_there_is_not_is_named(driver: ModuleType) -> None:
    with pytest.raises(MisuseError, match="SINK_BATCH_ROW:"):
        load_settings(**own_order(driver, "search", "sink_batch_row=9").settings)


def test_a_name_is_submitted_without_waiting_for_a_word(
    driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, graph = MagicMock(), Graph("events-clean", "18_deduplicate", "20_sink")
    env._generate_stream_graph.return_value = graph
    prepared: list[Any] = []

    def prepare(settings: Any, jars: Any, lane: Lane) -> MagicMock:
        prepared.append((settings.search_parallelism, jars, lane.is_live))
        return env

    def wait(order: Order) -> None:
        pytest.fail("it waits for somebody")

    monkeypatch.setitem(sys.modules, "jobs.search_setup", SimpleNamespace(prepare=prepare))
    monkeypatch.setattr(driver, "_configuration", dict)
    monkeypatch.setattr(driver, "_wait", wait)
    assert driver.main("search") == 0
    assert prepared == [(PARALLELISM, (), True)]
    # The JobManager had built another job before.
    assert graph.uids == ["events-clean", "8_deduplicate", "10_sink"]
    assert env._j_stream_execution_environment.execute.call_args_list == [call(graph)]
    # The id and the savepoint are Flink's own, as whoever submits has given them.
    assert env.configure.call_args_list == [call({})]


def test_a_job_that_there_is_not_is_refused(
    driver: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert driver.main("nothing") == 2
    assert "has no job nothing" in capsys.readouterr().err
