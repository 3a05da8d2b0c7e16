"""What is refused before anything is stopped; the job runs on as if nobody had asked."""

from collections.abc import Iterator

import pytest

from tests.kit.lifecycle import running_workbench
from tests.kit.stack import TestStack
from tests.kit.workbench import Workbench

GOOD, REFUSED = 0, 3
_SOUND = {"mode": "process", "uid": "count", "max_parallelism": None, "state": "json"}


@pytest.fixture(scope="module")
def workbench(stack: TestStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """Yield one job for all of them: none may touch it."""
    with running_workbench(stack, tmp_path_factory.mktemp("refusals")) as made:
        [before] = made.live()
        yield made
        assert made.live() == [before]
        assert set(made.numbers.verify()) == {"1"}


@pytest.mark.parametrize(("change", "word", "way_out"), [
    ({"mode": "thread"}, "execution mode", "--fresh"),
    ({"uid": "tally"}, "without a place", "--allow-dropped"),
    ({"max_parallelism": 360}, "maximum parallelism", "--fresh"),
    ({"state": "json-2"}, "forms of state", "reads"),
], ids=["mode", "uid", "max parallelism", "form"])
def test_what_would_lose_state_is_refused_before_anything_is_stopped(
    workbench: Workbench, change: dict[str, object], word: str, way_out: str
) -> None:
    workbench.tree.change(**{"version": "2", **_SOUND, **change})
    done = workbench.upgrade()
    assert done.returncode == REFUSED, done.stdout + done.stderr
    assert word in done.stderr + done.stdout
    assert way_out in done.stderr


def test_an_uncommitted_tree_is_refused(workbench: Workbench) -> None:
    workbench.tree.edit(version="uncommitted")
    done = workbench.upgrade()
    assert done.returncode == REFUSED
    assert "--allow-dirty" in done.stderr


def test_a_dry_run_touches_nothing(workbench: Workbench) -> None:
    before = [one["number"] for one in workbench.history()]
    workbench.tree.change(version="2", **_SOUND)
    done = workbench.upgrade("--dry-run")
    assert done.returncode == GOOD, done.stderr
    assert "stop job" in done.stdout
    assert [one["number"] for one in workbench.history()] == before
