"""`sluice history`: the list of operations, and that of what can be gone back to."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from control.archive.pack import MANIFEST
from control.cli import deployment_list, history, main
from control.lifecycle.decide import Wish
from tests.unit.desk_kit import Output, office_with, run_json
from tests.unit.lifecycle_kit import Plane, running_plane


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plane:
    """Return a plane whose books the commands read."""
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    plane = running_plane()
    for module in (history, deployment_list):
        monkeypatch.setattr(module, "Book", lambda _: nullcontext())
        monkeypatch.setattr(module, "Ledger", lambda _: plane.ledger)
        monkeypatch.setattr(module, "Deployments", lambda _: plane.deployments)
    office_with(monkeypatch, plane)
    return plane


def taken_back(plane: Plane) -> None:
    plane.flink.when_submitted = lambda job: (
        plane.flink.crash(job.id, restarts=0) if job.user_config["version"] == "2" else None
    )
    assert main.run(["upgrade", "counting", "--yes"]) == 1


def test_of_an_upgrade_that_was_taken_back_what_runs_is_shown(
    plane: Plane, capsys: Output
) -> None:
    taken_back(plane)
    listed = run_json(capsys, "history", "counting")
    assert [one["deployment"] for one in listed] == [3, 1]


def test_deployments_tell_what_became_of_each(plane: Plane, capsys: Output) -> None:
    taken_back(plane)
    plane.wait(10)
    plane.stop()
    plane.deploy(plane.release("4"))
    listed = run_json(capsys, "history", "counting", "--deployments")
    assert [(one["number"], one["version"], one["state"]) for one in listed] == [
        (4, "4", "live"), (3, "1", "ended"), (2, "2", "failed"), (1, "1", "ended"),
    ]
    live, returned, failed, first = (one["ended"] for one in listed)
    assert (live, returned, first) == ("", "stop 3", "upgrade 2")
    assert "was taken back" in failed
    savepoint = plane.savepoints.all("counting")[0]
    assert listed[0]["restored_from"] == savepoint.path
    assert listed[3]["restored_from"] is None
    assert {one["commit"] for one in listed} == {None}


def test_one_that_nobody_ended_ended_by_itself(plane: Plane, capsys: Output) -> None:
    plane.flink.fail(plane.flink.live("counting")[0].id, restarts=False)
    plane.deploy(plane.release("2"), Wish(fresh=True))
    listed = run_json(capsys, "history", "counting", "--deployments")
    assert listed[1]["ended"] == "by itself, before deploy 2"


def test_the_commit_is_known_where_the_code_lies(
    plane: Plane, tmp_path: Path, capsys: Output
) -> None:
    for number, changed in ((1, []), (2, ["jobs/a.py"])):
        code = tmp_path / "code" / f"archive-{number}"
        code.mkdir(parents=True)
        (code / MANIFEST).write_text(json.dumps({"commit": str(number) * 40, "changed": changed}))
    plane.upgrade()
    plane.upgrade(plane.release("3"))
    listed = run_json(capsys, "history", "--deployments")
    assert [one["commit"] for one in listed] == [None, f"{'2' * 12}+", "1" * 12]


def test_deployments_for_a_person(plane: Plane, capsys: Output) -> None:
    plane.upgrade()
    capsys.readouterr()
    assert main.run(["history", "counting", "--deployments"]) == 0
    header, newest, first = capsys.readouterr().out.splitlines()
    assert header.split() == ["number", "job", "version", "commit", "state", "began", "from",
                              "ended"]
    assert newest.split()[:5] == ["2", "counting", "2", "unknown", "live"]
    assert "no state" in first
    assert first.endswith("upgrade 2")
