"""Upgrades of a running job under load: each number is counted exactly once, whatever happens."""

import pytest

from tests.kit.workbench import Workbench

GOOD, FAILED = 0, 1


def test_a_new_version_goes_on_where_the_old_one_stopped(workbench: Workbench) -> None:
    workbench.tree.change(version="2")
    done = workbench.upgrade("--reason", "a better count")
    assert done.returncode == GOOD, done.stdout + done.stderr
    [live] = workbench.live()
    versions = workbench.numbers.verify()
    assert set(versions) == {"1", "2"}
    [upgrade, _deploy] = workbench.history()
    assert (upgrade["kind"], upgrade["state"]) == ("upgrade", "done")
    assert upgrade["reason"] == "a better count"
    assert live.id in upgrade["outcome"]


@pytest.mark.parametrize("fault", [
    {"crash_after": 8},
    pytest.param({"refuses": True}, marks=pytest.mark.long),
    pytest.param({"crash_after": 0}, marks=pytest.mark.long),
    # It says that it reads what the old version kept.
    pytest.param({"state": "json-2", "form": "json"}, marks=pytest.mark.long),
    pytest.param({"stalls": True}, marks=pytest.mark.long),
], ids=["crashes later", "refuses all", "crashes at start", "cannot map its state",
        "completes no checkpoint"])
def test_a_bad_version_is_taken_back(workbench: Workbench, fault: dict[str, object]) -> None:
    workbench.tree.change(version="2", **fault)
    done = workbench.upgrade("--watch", "20")
    assert done.returncode == FAILED, done.stdout + done.stderr
    assert "taken back" in done.stderr
    assert len(workbench.live()) == 1
    versions = workbench.numbers.verify(180)
    assert "1" in versions
    assert workbench.history()[0]["state"] == "failed"
