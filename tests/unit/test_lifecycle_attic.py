"""Archives are deleted only when nothing runs from them and nobody can go back to them."""

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from control.archive.store import FolderStore
from control.lifecycle.attic import clear_out
from control.lifecycle.open import Desk
from control.lifecycle.snapshots import take_savepoint
from control.lifecycle.words import Kind, Origin
from tests.unit.archive_kit import packed
from tests.unit.lifecycle_kit import Plane

_OLD = time.time() - 8 * 86_400


class Attic:
    """A control plane with archives on a disk."""

    def __init__(self, folder: Path) -> None:
        self.plane = Plane()
        self.store = FolderStore(folder / "archives")
        self.code = folder / "home" / "code"
        self.code.mkdir(parents=True)
        self._folder = folder

    def archive(self, number: int, *, old: bool = True) -> str:
        """Keep an archive, and unpack it."""
        made = packed(self._folder, number=number)
        self.store.put(made)
        (self.code / made.hash).mkdir()
        if old:
            for path in (*(self._folder / "archives").iterdir(), *self.code.iterdir()):
                os.utime(path, (_OLD, _OLD))
        return made.hash

    def deploy(self, archive: str, times: int = 1) -> None:
        """Deploy it, and stop it again but for the last time."""
        for _ in range(times):
            if self.plane.flink.live("counting"):
                self.plane.stop()
            self.plane.deploy(replace(self.plane.release(), archive=archive))
            self.plane.wait(20)

    def clear(self) -> set[str]:
        """Clear out; return the archives that are left."""
        settings: Any = SimpleNamespace(home=self.code.parent)
        clear_out(cast(Desk, SimpleNamespace(
            settings=settings, place=self.plane.place, store=self.store,
        )), lambda _: None)
        left = {one.hash for one in self.store.list()}
        assert left == {path.name for path in self.code.iterdir()}
        return left


@pytest.fixture
def attic(tmp_path: Path) -> Attic:
    return Attic(tmp_path)


def test_what_nobody_deployed_goes_when_it_is_old(attic: Attic) -> None:
    attic.archive(1)
    young = attic.archive(2, old=False)
    assert attic.clear() == {young}


def test_what_runs_stays(attic: Attic) -> None:
    archive = attic.archive(1)
    attic.deploy(archive)
    assert attic.clear() == {archive}


def test_what_ran_long_ago_goes(attic: Attic) -> None:
    first, second = attic.archive(1), attic.archive(2)
    attic.deploy(first)
    attic.deploy(second, times=11)
    for one in attic.plane.savepoints.all("counting"):
        del attic.plane.savepoints.rows[one.number]
    assert attic.clear() == {second}


def test_what_a_savepoint_can_go_back_to_stays(attic: Attic) -> None:
    first, second = attic.archive(1), attic.archive(2)
    attic.deploy(first)
    live = attic.plane.flink.live("counting")[0]
    taken = take_savepoint(attic.plane.place, "counting", live.id, Origin.MANUAL)
    attic.deploy(second, times=11)
    for one in attic.plane.savepoints.all("counting"):
        if one.number != taken.number:
            del attic.plane.savepoints.rows[one.number]
    assert attic.clear() == {first, second}


def test_what_an_unfinished_operation_wants_stays(attic: Attic) -> None:
    archive = attic.archive(1)
    attic.plane.ledger.begin("counting", Kind.DEPLOY, {"release": {"archive": archive}}, "")
    assert attic.clear() == {archive}
