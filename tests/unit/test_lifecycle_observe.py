"""What is gathered before a job is touched: of the version that is meant, not of this checkout."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control.lifecycle import observe
from control.lifecycle.decide import Wish, decide_deploy
from control.lifecycle.graph import Graph
from control.lifecycle.observe import gather
from control.lifecycle.releases import archive_store
from control.savepoint_metadata import OperatorState, SavepointMetadata, operator_id
from control.settings import Settings, load_settings
from tests.unit.archive_kit import CODE, packed, write
from tests.unit.lifecycle_kit import SPEC, Plane, running_plane

THING = "sluice.events.Thing"


def schema(*fields: str) -> str:
    return json.dumps({"type": "record", "namespace": "sluice.events", "name": "Thing",
                       "fields": [{"name": name, "type": "string"} for name in fields]})


class Registry:
    """A registry that has one schema."""

    def __init__(self, known: str) -> None:
        self._known = json.loads(known)

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def id_of(self, subject: str, wanted: Mapping[str, Any]) -> int | None:
        return 1 if subject == THING and wanted == self._known else None


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Plane:
    monkeypatch.setattr(observe, "_missing_topics", lambda *_: ())
    monkeypatch.setattr(observe, "_migration", lambda *_: 9)
    return running_plane()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    # The checkout of today knows a field more.
    write(tmp_path / "today", {"thing/v1.avsc": schema("a"), "thing/v2.avsc": schema("a", "b")})
    return load_settings(home=tmp_path / "home", schemas=tmp_path / "today")


@pytest.mark.parametrize(("registered", "missing"), [
    (schema("a"), ()), (schema("a", "b"), (THING,)),
])
def test_schemas_are_those_of_the_version_that_is_meant(
    plane: Plane, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    registered: str, missing: tuple[str, ...],
) -> None:
    monkeypatch.setattr(observe, "RegistryClient", lambda _: Registry(registered))
    old = packed(tmp_path, {**CODE, "schemas/thing/v1.avsc": schema("a")})
    archive_store(settings).put(old)
    release = replace(plane.release("1", replace(SPEC, schemas=(THING,))), archive=old.hash)
    plane.stop()
    plan = decide_deploy(plane.place, release, None, Wish(fresh=True))
    found = gather(settings, plane.place, plan, Graph("process", ()))
    assert found.missing_schemas == missing


def test_who_wrote_a_kept_checkpoint_is_told(
    plane: Plane, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = (OperatorState(operator_id("count"), "count", "count", 1, 720, 1, 10),)
    monkeypatch.setattr(observe, "read_metadata", lambda *_: SavepointMetadata(
        1, held, (), 10, "file:/s", 4, "checkpoint", None))
    job = plane.flink.live("counting")[0]
    plane.flink.fail(job.id, restarts=False)
    plane.wait(1)
    plan = decide_deploy(plane.place, plane.release("2"), None, Wish())
    assert plan.restore.path is not None
    assert plane.savepoints.at(plan.restore.path) is None
    found = gather(settings, plane.place, plan, Graph("process", ()))
    assert found.wrote == SPEC
    assert found.state == held
