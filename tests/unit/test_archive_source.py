"""Which files belong to job code, and what git says of them."""

import os
import shutil
from pathlib import Path

import pytest

from control.archive.source import SourceTree
from control.errors import RefusedError, SluiceError
from tests.unit.archive_kit import CODE, OTHERS, checkout, commit_all, git, write

ODD = "jobs/two words\nand a line é.py"


@pytest.fixture
def no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def test_the_jobs_code_belongs_and_nothing_else(tmp_path: Path) -> None:
    tree = checkout(tmp_path)
    assert tree.files() == sorted(CODE)
    assert tree.changes() == []
    assert tree.commit() == git(tmp_path, "rev-parse", "HEAD").strip()
    tree.require_clean(allow_dirty=False)


def test_without_a_repository_all_but_what_is_made_belongs(tmp_path: Path) -> None:
    made = [
        "jobs/__pycache__/ingest.cpython-311.pyc", "jobs/old.pyc", "control/.hidden/a.py",
        "control/stack/node_modules/x/index.js", "udfs/.venv/lib/a.py", "schemas/.sluice/x",
        "jobs/.ingest.py.swp",
    ]
    write(tmp_path, {**CODE, **OTHERS, **dict.fromkeys(made, "x")})
    tree = SourceTree(tmp_path)
    assert tree.files() == sorted(CODE)
    assert (tree.changes(), tree.commit()) == ([], None)
    tree.require_clean(allow_dirty=False)


def test_without_git_itself_the_files_are_taken_as_they_lie(tmp_path: Path, no_git: None) -> None:
    tree = SourceTree(write(tmp_path / "tree", CODE))
    assert tree.files() == sorted(CODE)
    assert (tree.changes(), tree.commit()) == ([], None)
    tree.require_clean(allow_dirty=False)


def test_a_checkout_without_git_itself_is_not_called_clean(
    tmp_path: Path, no_git: None
) -> None:
    tree = SourceTree(write(tmp_path / "tree", CODE))
    (tmp_path / "tree" / ".git").mkdir()
    with pytest.raises(RefusedError, match="no git") as error:
        tree.require_clean(allow_dirty=False)
    assert "--allow-dirty" in error.value.hint
    tree.require_clean(allow_dirty=True)


def test_every_kind_of_change_is_seen(tmp_path: Path) -> None:
    tree = checkout(tmp_path, {**CODE, "jobs/gone.py": "", "jobs/removed.py": "", "udfs/a.py": ""})
    write(tmp_path, {
        "jobs/ingest.py": "changed", "udfs/staged.py": "", ODD: "", "jobs/new/deep.py": "",
    })
    git(tmp_path, "add", "udfs/staged.py")
    git(tmp_path, "rm", "--quiet", "jobs/removed.py")
    git(tmp_path, "mv", "udfs/a.py", "udfs/b.py")
    (tmp_path / "jobs/gone.py").unlink()
    assert tree.changes() == sorted([
        "jobs/ingest.py", "jobs/gone.py", "jobs/removed.py", "jobs/new/deep.py", ODD,
        "udfs/a.py", "udfs/b.py", "udfs/staged.py",
    ])
    # What git does not know stays out; what is staged belongs.
    assert tree.left_out() == ["jobs/new/deep.py", ODD]
    assert tree.files() == sorted([*CODE, "udfs/b.py", "udfs/staged.py"])


def test_what_does_not_get_into_an_archive_is_no_change(tmp_path: Path) -> None:
    tree = checkout(tmp_path, {**CODE, **OTHERS, ".gitignore": "*.log\n"})
    write(tmp_path, {
        "README.md": "changed", "tests/new.py": "", "jobs/a.log": "", "locks/dev.txt": "x",
        "jobs/__pycache__/a.pyc": "", "jobs/.a.swp": "", "bench/x.py": "",
    })
    assert tree.changes() == []
    assert tree.files() == sorted(CODE)


def test_a_changed_mode_is_a_change(tmp_path: Path) -> None:
    tree = checkout(tmp_path)
    (tmp_path / "jobs/ingest.py").chmod(0o755)
    assert tree.changes() == ["jobs/ingest.py"]


@pytest.mark.parametrize("count", [1, 5, 7])
def test_the_refusal_names_five_files_and_the_way_around(tmp_path: Path, count: int) -> None:
    tree = checkout(tmp_path)
    write(tmp_path, {f"jobs/new{number}.py": "" for number in range(count)})
    with pytest.raises(RefusedError) as error:
        tree.require_clean(allow_dirty=False)
    named = [number for number in range(count) if f"new{number}.py" in error.value.message]
    assert named == list(range(min(count, 5)))
    assert ("and 2 more" in error.value.message) == (count == 7)
    assert "--allow-dirty" in error.value.hint
    tree.require_clean(allow_dirty=True)


def test_odd_names_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    tree = checkout(tmp_path)
    write(tmp_path, {"jobs/\x1b[2J\n.py": ""})
    with pytest.raises(RefusedError) as error:
        tree.require_clean(allow_dirty=False)
    assert error.value.message.isprintable()


def test_odd_names_belong(tmp_path: Path) -> None:
    assert ODD in checkout(tmp_path, {**CODE, ODD: ""}).files()


def test_before_the_first_commit_everything_is_a_change(tmp_path: Path) -> None:
    write(tmp_path, CODE)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "jobs")
    tree = SourceTree(tmp_path)
    assert tree.commit() is None
    assert tree.changes() == sorted(CODE)
    assert tree.files() == sorted(name for name in CODE if name.startswith("jobs/"))


@pytest.mark.parametrize("place", ["jobs/link.py", "jobs/folder", "jobs"])
@pytest.mark.parametrize("with_git", [True, False])
def test_links_are_refused(tmp_path: Path, place: str, with_git: bool) -> None:
    write(tmp_path / "elsewhere", {"a.py": ""})
    root = write(tmp_path / "tree", CODE)
    if place == "jobs":
        shutil.rmtree(root / "jobs")
    file = place.endswith(".py")
    (root / place).symlink_to(tmp_path / "elsewhere" / ("a.py" if file else ""))
    tree = checkout(root, {}) if with_git else SourceTree(root)
    with pytest.raises(RefusedError, match=f"{place} is a symbolic link"):
        tree.files()


def test_a_folder_that_became_a_link_is_refused(tmp_path: Path) -> None:
    tree = checkout(tmp_path / "tree", {**CODE, "jobs/deep/a.py": ""})
    (tmp_path / "tree/jobs/deep").rename(tmp_path / "deep")
    (tmp_path / "tree/jobs/deep").symlink_to(tmp_path / "deep")
    with pytest.raises(RefusedError, match="jobs/deep is a symbolic link"):
        tree.files()


def test_a_folder_that_became_a_file_is_a_change(tmp_path: Path) -> None:
    tree = checkout(tmp_path, {**CODE, "jobs/deep/a.py": ""})
    shutil.rmtree(tmp_path / "jobs/deep")
    (tmp_path / "jobs/deep").touch()
    assert tree.changes() == ["jobs/deep", "jobs/deep/a.py"]
    assert tree.files() == sorted(CODE)


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, CODE)
    os.mkfifo(tmp_path / "jobs/pipe")
    with pytest.raises(RefusedError, match="jobs/pipe is no plain file"):
        SourceTree(tmp_path).files()


def test_a_repository_inside_is_refused(tmp_path: Path) -> None:
    tree = checkout(tmp_path)
    checkout(tmp_path / "jobs/inner", {"a.py": ""})
    git(tmp_path, "-c", "advice.addEmbeddedRepo=false", "add", "jobs/inner")
    with pytest.raises(RefusedError, match="jobs/inner is a folder of another repository"):
        tree.files()


@pytest.mark.parametrize("with_git", [True, False])
def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path, with_git: bool) -> None:
    write(tmp_path, CODE)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/jobs/\xff.py")).touch()
    tree = checkout(tmp_path, {}) if with_git else SourceTree(tmp_path)
    with pytest.raises(RefusedError, match=r"\\xff"):
        tree.files()


def test_the_variables_of_another_repository_do_not_lead_astray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, other = checkout(tmp_path / "tree"), checkout(tmp_path / "other", {"jobs/b.py": ""})
    write(tree.root, {"jobs/ingest.py": "changed"})
    expected = (tree.files(), tree.changes(), tree.commit())
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.root))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.root / ".git/index"))
    monkeypatch.setenv("GIT_ICASE_PATHSPECS", "1")
    fresh = SourceTree(tree.root)
    assert (fresh.files(), fresh.changes(), fresh.commit()) == expected


def test_a_tree_below_the_top_of_its_repository(tmp_path: Path) -> None:
    checkout(tmp_path, {f"products/über sluice/{name}": text for name, text in CODE.items()})
    write(tmp_path, {"jobs/other.py": ""})
    tree = SourceTree(tmp_path / "products/über sluice")
    write(tree.root, {"jobs/new.py": ""})
    assert tree.files() == sorted(CODE)
    assert tree.changes() == ["jobs/new.py"]
    assert tree.commit() == git(tmp_path, "rev-parse", "HEAD").strip()


def test_a_copy_that_a_repository_around_it_ignores_has_none(tmp_path: Path) -> None:
    checkout(tmp_path, {".gitignore": "/copies/\n"})
    tree = SourceTree(write(tmp_path / "copies/a", CODE))
    assert tree.files() == sorted(CODE)
    assert (tree.changes(), tree.commit()) == ([], None)


def test_a_copy_that_a_repository_around_it_does_not_know_yet(tmp_path: Path) -> None:
    checkout(tmp_path, {"README.md": ""})
    tree = SourceTree(write(tmp_path / "copy", CODE))
    assert tree.changes() == sorted(CODE)
    with pytest.raises(RefusedError, match="no job code that git knows"):
        tree.files()


def test_a_repository_that_is_broken_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {**CODE, ".git": f"gitdir: {tmp_path}/gone\n"})
    with pytest.raises(SluiceError, match="git cannot read the repository"):
        SourceTree(tmp_path).require_clean(allow_dirty=False)


def test_a_conflict_is_one_change_of_one_file(tmp_path: Path) -> None:
    tree = checkout(tmp_path)
    git(tmp_path, "checkout", "--quiet", "-b", "side")
    write(tmp_path, {"jobs/ingest.py": "side"})
    commit_all(tmp_path)
    git(tmp_path, "checkout", "--quiet", "-")
    write(tmp_path, {"jobs/ingest.py": "main"})
    commit_all(tmp_path)
    with pytest.raises(Exception, match="merge"):
        git(tmp_path, "merge", "side")
    assert tree.changes() == ["jobs/ingest.py"]
    assert tree.files() == sorted(CODE)


def test_an_empty_tree_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="has no job code"):
        SourceTree(tmp_path).files()
    with pytest.raises(SluiceError, match="is no folder"):
        SourceTree(tmp_path / "gone").files()
