"""What stays out of an archive is said when a tree is taken as it is."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from control.cli import jobs, main
from tests.unit.archive_kit import checkout, write
from tests.unit.desk_kit import Office, Output, office_with
from tests.unit.lifecycle_kit import running_plane

_UPGRADE = ["upgrade", "counting", "--yes", "--dry-run"]


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Office:
    checkout(tmp_path)
    monkeypatch.setenv("SLUICE_SOURCE", str(tmp_path))
    monkeypatch.setenv("SLUICE_ALLOW_DIRTY", "")
    office = office_with(monkeypatch, running_plane())
    office.seat(jobs)
    return office


@pytest.mark.parametrize(("files", "said"), [
    ({}, ""),
    ({"README.md": "changed", "jobs/ingest.py": "changed", "jobs/__pycache__/a.pyc": ""}, ""),
    ({"jobs/new.py": ""},
     "jobs/new.py stays out, since git does not know it: `git add` takes it along.\n"),
    ({"jobs/a.py": "", "udfs/b.py": ""},
     "jobs/a.py, udfs/b.py stay out, since git does not know them: `git add` takes them along.\n"),
])
def test_what_git_does_not_know_is_named(
    office: Office, tmp_path: Path, capsys: Output, files: Mapping[str, str], said: str
) -> None:
    write(tmp_path, files)
    assert main.run([*_UPGRADE, "--allow-dirty"]) == 0
    assert capsys.readouterr().err == said


def test_it_is_named_when_a_setting_allows_it(
    office: Office, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"jobs/new.py": ""})
    monkeypatch.setenv("SLUICE_ALLOW_DIRTY", "true")
    assert main.run(_UPGRADE) == 0
    assert "jobs/new.py" in capsys.readouterr().err


def test_nothing_is_said_of_a_clean_tree_that_is_asked_for(
    office: Office, tmp_path: Path, capsys: Output
) -> None:
    write(tmp_path, {"jobs/new.py": ""})
    # Not packed here; packing refuses it.
    assert main.run(_UPGRADE) == 0
    assert capsys.readouterr().err == ""


def test_a_plan_names_it(office: Office, tmp_path: Path, capsys: Output) -> None:
    write(tmp_path, {"jobs/new.py": ""})
    assert main.run(["jobs", "plan", "counting", "--json"]) == 0
    assert "jobs/new.py stays out" in capsys.readouterr().err
