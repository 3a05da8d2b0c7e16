"""`sluice jobs`: what runs of each, and the drawing of its operators."""

import importlib
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from control.cli import jobs, main
from control.cli.drawing import draw
from control.errors import SluiceError
from control.flink import FlinkClient
from control.lifecycle.graph import Graph, Operator, graph_from_json
from tests.unit.desk_kit import Output, office_with, run_json
from tests.unit.lifecycle_kit import Plane, running_plane


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Plane:
    """Return a plane at which the commands look."""
    plane = running_plane()
    office_with(monkeypatch, plane).seat(jobs)
    monkeypatch.setattr(jobs, "FlinkClient", lambda url: FlinkClient(url, transport=plane.flink))
    monkeypatch.setattr(jobs, "Book", lambda *_, **__: nullcontext())
    monkeypatch.setattr(jobs, "Deployments", lambda _: plane.deployments)
    return plane


def listed(capsys: Output) -> tuple[Any, ...]:
    [row] = run_json(capsys, "jobs", "list")
    assert run_json(capsys, "jobs", "show", "counting")["live"]["state"] == row["state"]
    return row["state"], row["deployment"], row["version"]


def test_what_runs_has_its_version_and_deployment(plane: Plane, capsys: Output) -> None:
    plane.upgrade()
    assert listed(capsys) == ("running", 2, "2")
    assert main.run(["jobs", "list"]) == 0
    assert "2 (2)" in capsys.readouterr().out
    assert main.run(["jobs", "show", "counting"]) == 0
    assert "running, version (deployment) 2 (2)" in capsys.readouterr().out


def test_what_does_not_run_has_none(plane: Plane, capsys: Output) -> None:
    plane.stop()
    assert listed(capsys) == ("not started", None, None)


def test_without_flink_it_is_unknown_what_runs(plane: Plane, capsys: Output) -> None:
    plane.flink.refuse_connections(100)
    # As far as is known.
    assert listed(capsys) == ("unknown", 1, "1")
    assert main.run(["jobs", "list"]) == 0
    assert "unknown  1 (1)" in capsys.readouterr().out


def test_without_the_database_the_version_is_unknown(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def away(*_: object, **__: object) -> None:
        message = "the database is away"
        raise SluiceError(message)

    monkeypatch.setattr(jobs, "Book", away)
    assert listed(capsys) == ("running", None, None)
    assert main.run(["jobs", "list"]) == 0
    assert "running  unknown" in capsys.readouterr().out
    plane.flink.refuse_connections(100)
    assert listed(capsys) == ("unknown", None, None)


# --- Drawn ----------------------------------------------------------------------------------------


def operator(name: str, *inputs: str, uid: str | None = None, task: str = "t") -> Operator:
    return Operator(name, uid, name, task, 2, 720, inputs)


def cells(*operators: Operator) -> list[str]:
    # Flink tells the last one first.
    return [row[0] for row in draw(Graph("process", operators[::-1]))]


def test_a_chain() -> None:
    assert draw(Graph("process", (
        operator("sink", "map", task="b"), operator("map", "source", uid="decode", task="a"),
        operator("source", uid="raw", task="a"),
    ))) == [
        ("source", "raw", "1", "2 of 720"),
        ("└─ map", "decode", "1", "2 of 720"),
        ("   └─ sink", "none", "2", "2 of 720"),
    ]


def test_what_forks_and_joins_is_drawn_once() -> None:
    assert cells(
        operator("a"), operator("b"), operator("left", "a"), operator("right", "a"),
        operator("both", "left", "right", "b"), operator("end", "both"),
    ) == [
        "a",
        "├─ left",
        "│  └─ both (1)",
        "│     └─ end",
        "└─ right",
        "   └─ (1) as above",
        "b",
        "└─ (1) as above",
    ]


def test_two_edges_between_the_same_are_one_line() -> None:
    assert cells(operator("a"), operator("b", "a", "a")) == ["a", "└─ b"]


def test_a_graph_without_edges_is_still_listed(capsys: Output) -> None:
    old = {"mode": "thread", "operators": [
        {"id": one, "uid": one, "name": one, "vertex": one, "parallelism": 1,
         "max_parallelism": 720} for one in "ab"
    ]}
    graph = graph_from_json(old)
    assert [one.inputs for one in graph.operators] == [(), ()]
    jobs._draw(graph)
    out = capsys.readouterr().out
    assert "does not tell which of them feeds which" in out
    assert out.splitlines()[-1].split()[0] == "a"


def test_a_graph_with_edges_outlives_the_database() -> None:
    graph = Graph("process", (operator("a"), operator("b", "a")))
    assert graph_from_json(graph.as_json()) == graph


def test_the_plan_of_a_job_is_drawn(plane: Plane, capsys: Output) -> None:
    assert main.run(["jobs", "plan", "counting"]) == 0
    out = capsys.readouterr().out
    assert "process mode" in out
    assert "numbers" in out


# --- Told by the driver ---------------------------------------------------------------------------


class _Pair:
    """What Flink says of one operator of a task."""

    def __init__(self, made: str, own: str | None, name: str) -> None:
        self.getGeneratedOperatorID = lambda: made
        self.getUserDefinedOperatorID = lambda: SimpleNamespace(
            isPresent=lambda: own is not None, get=lambda: own
        )
        self.getUserDefinedOperatorUid = lambda: None
        self.getUserDefinedOperatorName = lambda: name


def _node(number: int, *sources: int) -> Any:
    edges = [SimpleNamespace(getSourceId=lambda one=one: one) for one in sources]
    return SimpleNamespace(getId=lambda: number, getInEdges=lambda: edges)


def test_the_driver_tells_what_feeds_what(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = importlib.import_module("jobs.driver")
    hashes = {1: b"\xaa", 2: b"\xbb", 3: b"\xcc"}
    package = SimpleNamespace(StreamGraphHasherV2=lambda: SimpleNamespace(
        traverseStreamGraphAndGenerateHashes=lambda _: hashes
    ))
    java = SimpleNamespace(org=SimpleNamespace(apache=SimpleNamespace(flink=SimpleNamespace(
        streaming=SimpleNamespace(api=SimpleNamespace(graph=package))))))
    monkeypatch.setattr(driver, "get_gateway", lambda: SimpleNamespace(jvm=java))
    vertex = SimpleNamespace(
        # One of them was given its id, by which Flink knows it instead.
        getOperatorIDs=lambda: [_Pair("cc", None, "sink"), _Pair("bb", "f0", "map"),
                                _Pair("aa", None, "source")],
        getName=lambda: "all", getParallelism=lambda: 1, getMaxParallelism=lambda: 720,
    )
    graph = SimpleNamespace(
        getJobGraph=lambda: SimpleNamespace(getVerticesAsArray=lambda: [vertex]),
        getStreamNodes=lambda: SimpleNamespace(
            toArray=lambda: [_node(1), _node(2, 1), _node(3, 2)]
        ),
    )
    found = graph_from_json(driver._describe(graph, "process"))
    assert [(one.id, one.inputs) for one in found.operators] == [
        ("cc", ("f0",)), ("f0", ("aa",)), ("aa", ()),
    ]
