"""Commands as a person gives them, on a control plane in memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any, cast

import pytest

from control.archive.store import ArchiveStore
from control.cli import carry_out, change, end, main
from control.lifecycle.deployments import Release
from control.lifecycle.graph import Graph, graph_from_json
from control.lifecycle.open import Desk
from control.lifecycle.perform import Held, where_it_stood
from control.lifecycle.plan import Plan
from control.lifecycle.preflight import Facts
from control.lifecycle.workplace import Workplace
from control.savepoint_metadata import OperatorState
from control.settings import Settings, load_settings
from jobs.spec import JobSpec, spec_from_json
from tests.unit.lifecycle_kit import SPEC, Plane

Output = pytest.CaptureFixture[str]


class Office:
    """A desk, and what a tree would be packed to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plane: Plane) -> None:
        self.plane = plane
        # Of the tree, at its next packing.
        self.version = "2"
        self.spec = SPEC
        # What is other than it should be, by the name of the fact.
        self.facts: dict[str, Any] = {}
        self._monkeypatch = monkeypatch
        for module in (change, carry_out, end):
            self.seat(module)

    def seat(self, module: ModuleType) -> None:
        """Let the commands of a module work here."""
        for name in ("open_desk", "held", "find_spec", "read_specs", "make_release", "gather"):
            if hasattr(module, name):
                self._monkeypatch.setattr(module, name, getattr(self, f"_{name}"))

    @contextmanager
    def _open_desk(self, settings: Settings) -> Iterator[Desk]:
        # Nothing is packed, so nothing is stored.
        yield Desk(settings, self.plane.place, cast(ArchiveStore, None))

    @contextmanager
    def _held(self, desk: Desk, job: str, *, unfinished: bool = False) -> Iterator[Held]:
        if not unfinished and (other := desk.place.ledger.unfinished(job)) is not None:
            raise where_it_stood(desk.place, other)
        yield Held(desk, job)

    def _find_spec(self, _source: object, _job: str) -> JobSpec:
        return self.spec

    def _read_specs(self, _source: object) -> dict[str, JobSpec]:
        return {self.spec.name: self.spec}

    def _make_release(
        self, _settings: Settings, _store: object, spec: JobSpec, *, allow_dirty: bool,
        parallelism: int | None = None,
    ) -> Release:
        return self.plane.release(self.version, spec, parallelism or 1)

    def _gather(
        self, _settings: Settings, place: Workplace, plan: Plan, graph: Graph
    ) -> Facts:
        """Look at the fake only; all other servers are as they should be."""
        running = plan.suspend.flink_job
        before = place.deployments.of_flink_job(running) if running else None
        if not plan.restore.suspended:
            savepoint = place.savepoints.at(plan.restore.path or "")
            before = place.deployments.get(savepoint.deployment or 0) if savepoint else None
        wrote = graph_from_json(before.graph) if before and before.graph else None
        state = None if wrote is None else tuple(
            OperatorState(one.id, one.uid, one.name, one.parallelism, one.max_parallelism, 1, 10)
            for one in wrote.operators
        )
        found = Facts(
            "2.2.1", place.eyes.flink.cluster().free_slots, 1 if running else 0, (), (), 8, graph,
            state, spec_from_json(before.release.spec) if before else None,
            place.eyes.state(running) if running else None, None, 0,
        )
        return replace(found, **self.facts)


def office_with(monkeypatch: pytest.MonkeyPatch, plane: Plane) -> Office:
    """Return an office around a plane; nobody sits at a terminal."""
    load_settings()
    return Office(monkeypatch, plane)


def run_json(capsys: Output, *words: str, code: int = 0) -> Any:
    """Run a command that must end with a code; return the JSON that it printed."""
    capsys.readouterr()
    assert main.run([*words, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)
