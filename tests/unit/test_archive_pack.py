"""Archives: the same bytes everywhere, unpacked whole or not at all."""

import json
import os
import random
import signal
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from control.archive.pack import MANIFEST, Archive, pack, read_archive
from control.archive.source import SourceTree
from control.archive.stored import digest_of
from control.archive.unpack import unpack
from control.errors import MisuseError, RefusedError, SluiceError
from tests.unit.archive_kit import CODE, child, packed, write

_PART = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]),
    min_size=1, max_size=8,
).filter(lambda part: not part.startswith(".") and not part.endswith(".pyc")
         and part not in {"__pycache__", "node_modules"})
_NAMES = st.builds(
    lambda top, parts: "/".join([top, *parts]), st.sampled_from(["jobs", "udfs", "schemas"]),
    st.lists(_PART, min_size=1, max_size=3),
)
_TREES = st.dictionaries(_NAMES, st.tuples(st.binary(max_size=200), st.booleans()),
                         min_size=1, max_size=8)


def lay_out(root: Path, tree: dict[str, tuple[bytes, bool]], seed: int) -> SourceTree:
    """Write a tree in an order and with times of the seed's."""
    chance = random.Random(seed)
    names = list(tree)
    chance.shuffle(names)
    for name in names:
        content, executable = tree[name]
        write(root, {name: content})
        (root / name).chmod(chance.choice([0o755, 0o700, 0o744] if executable else [0o644, 0o600]))
        os.utime(root / name, (0, chance.randrange(2**31)))
    return SourceTree(root)


def fits(tree: dict[str, tuple[bytes, bool]]) -> bool:
    """Tell whether no file of a tree is a folder as well."""
    return not any(other.startswith(f"{name}/") for name in tree for other in tree)


@settings(max_examples=40, deadline=None)
@given(tree=_TREES, seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_the_same_files_give_the_same_archive(
    tree: dict[str, tuple[bytes, bool]], seeds: tuple[int, int]
) -> None:
    assume(fits(tree))
    with TemporaryDirectory() as folder:
        here = Path(folder)
        one, two = (
            pack(lay_out(here / str(number), tree, seed), here / f"out{number}", {"job": "x"})
            for number, seed in enumerate(seeds)
        )
        assert one.hash == two.hash
        assert one.path.read_bytes() == two.path.read_bytes()
        whole = unpack(one, here / "cache")
        assert {
            str(path.relative_to(whole)): (path.read_bytes(), path.stat().st_mode & 0o777)
            for path in whole.rglob("*") if path.is_file() and path.name != MANIFEST
        } == {name: (content, 0o755 if run else 0o644) for name, (content, run) in tree.items()}


@settings(max_examples=40, deadline=None)
@given(tree=_TREES, chance=st.randoms(use_true_random=False))
def test_any_change_gives_another_archive(
    tree: dict[str, tuple[bytes, bool]], chance: random.Random
) -> None:
    assume(fits(tree))
    name = chance.choice(sorted(tree))
    content, executable = tree[name]
    place = chance.randrange(len(content) + 1)
    kind = chance.randrange(4)
    if kind == 0 and place < len(content):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1:], executable
    elif kind == 1:
        changed = content + b"\0", executable
    elif kind == 2:
        changed = content, not executable
    else:
        changed = None
    other = {**tree, name: changed} if changed else {
        (f"{old}x" if old == name else old): value for old, value in tree.items()
    }
    assume(fits(other) and other != tree)
    with TemporaryDirectory() as folder:
        one, two = (
            pack(lay_out(Path(folder, str(number)), files, 1), Path(folder, "out"), {})
            for number, files in enumerate([tree, other])
        )
        assert one.hash != two.hash


def test_times_modes_and_order_are_fixed(tmp_path: Path) -> None:
    write(tmp_path / "tree", CODE)
    (tmp_path / "tree/jobs/ingest.py").chmod(0o777)
    archive = packed(tmp_path)
    with zipfile.ZipFile(archive.path) as content:
        entries = content.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted([*CODE, MANIFEST])
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.create_system for entry in entries} == {3}
    assert {entry.extra for entry in entries} == {b""}
    assert {entry.filename: entry.external_attr >> 16 for entry in entries} == {
        name: stat.S_IFREG | (0o755 if name == "jobs/ingest.py" else 0o644) for name in names
    }


@pytest.mark.parametrize("umask", ["000", "077"])
@pytest.mark.parametrize(("locale", "utf8"), [("C", "0"), ("C", "1"), ("C.UTF-8", "1")])
def test_neither_umask_nor_locale_matters(
    tmp_path: Path, umask: str, locale: str, utf8: str
) -> None:
    expected = packed(tmp_path)
    code = (
        "import sys; from pathlib import Path; from control.archive.pack import pack;"
        " from control.archive.source import SourceTree;"
        " print(pack(SourceTree(Path(sys.argv[1])), Path(sys.argv[2]), {}).hash)"
    )
    done = subprocess.run(
        ["sh", "-c", f'umask {umask}; cp -R "$1" "$2"; exec "$3" -c "$4" "$2" "$2/out"', "sh",
         tmp_path / "tree", tmp_path / "copy", sys.executable, code],
        env={**os.environ, "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": utf8},
        check=True, capture_output=True, text=True,
    )
    assert done.stdout.strip() == expected.hash
    assert (tmp_path / "copy/out" / expected.path.name).read_bytes() == expected.path.read_bytes()


def test_the_manifest_is_inside_with_sorted_keys(tmp_path: Path) -> None:
    one = packed(tmp_path, job="é", commit=None, tops=["a"])
    two = pack(SourceTree(tmp_path / "tree"), tmp_path / "out",
               {"tops": ("a",), "commit": None, "job": "é"})
    assert one == two
    assert one.manifest == {"job": "é", "commit": None, "tops": ["a"]}
    assert read_archive(one.path) == one
    inside = unpack(one, tmp_path / "cache") / MANIFEST
    assert list(json.loads(inside.read_text())) == ["commit", "job", "tops"]
    assert packed(tmp_path, job="other").hash != one.hash


def test_it_is_named_by_the_hash_of_its_bytes_and_no_draft_stays(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    assert archive.hash == digest_of(archive.path)
    assert archive.size == archive.path.stat().st_size
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / f"{archive.hash}.zip"]


def test_a_file_that_cannot_be_packed_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = SourceTree(write(tmp_path / "tree", CODE))
    names = [*tree.files(), "udfs/vanished.py"]
    monkeypatch.setattr(SourceTree, "files", lambda _: names)
    with pytest.raises(SluiceError, match=r"vanished\.py"):
        pack(tree, tmp_path / "out", {})
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    content = archive.path.read_bytes()
    archive.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(RefusedError, match="damaged"):
        read_archive(archive.path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a", "")
    with pytest.raises(RefusedError, match="no archive of job code"):
        read_archive(tmp_path / "other.zip")
    with pytest.raises(SluiceError, match="cannot be read"):
        read_archive(tmp_path / "gone.zip")


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    folder = unpack(archive, tmp_path / "cache")
    assert folder == tmp_path / "cache" / archive.hash
    assert (folder / "jobs/ingest.py").read_text() == CODE["jobs/ingest.py"]
    archive.path.unlink()
    assert unpack(archive, tmp_path / "cache") == folder


def test_a_damaged_archive_touches_nothing(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    content = bytearray(archive.path.read_bytes())
    content[len(content) // 3] ^= 1
    archive.path.write_bytes(content)
    with pytest.raises(RefusedError, match="damaged"):
        unpack(archive, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def zip_of(folder: Path, *entries: tuple[str, int]) -> Archive:
    """Return an archive with names that we do not pack; its hash is right."""
    path = folder / "bad.zip"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("jobs/a.py", "a")
        for name, kind in entries:
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            entry.external_attr = kind << 16
            content.writestr(entry, "/etc")
    return Archive(digest_of(path), path, path.stat().st_size, {})


@pytest.mark.parametrize(("name", "kind"), [
    ("../out", stat.S_IFREG), ("jobs/../../out", stat.S_IFREG), ("/tmp/sluice-out", stat.S_IFREG),
    ("jobs/./b", stat.S_IFREG), ("jobs//b", stat.S_IFREG), ("jobs/b/", stat.S_IFREG),
    ("..", stat.S_IFREG), (".", stat.S_IFREG), ("jobs/link", stat.S_IFLNK), ("p", stat.S_IFIFO),
])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str, kind: int) -> None:
    archive = zip_of(tmp_path, (name, kind))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RefusedError, match="The archive has a file"):
        unpack(archive, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f".{archive.hash}.lock"]
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "cache"])
    assert not Path("/tmp/sluice-out").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="twice"):
        unpack(zip_of(tmp_path, ("jobs/a.py", 0)), tmp_path / "cache")


def test_a_file_that_is_a_folder_too_leaves_nothing(tmp_path: Path) -> None:
    archive = zip_of(tmp_path, ("jobs/a.py/b", stat.S_IFREG))
    with pytest.raises(SluiceError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f".{archive.hash}.lock"]


def test_what_is_no_hash_leads_nowhere(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    bad = Archive("../" * 3 + "x", archive.path, archive.size, {})
    with pytest.raises(MisuseError, match="no archive's hash"):
        unpack(bad, tmp_path / "cache")


def test_two_at_once_get_the_same_folder(tmp_path: Path) -> None:
    archive = packed(tmp_path, {f"jobs/m{number}.py": "x" * 999 for number in range(300)})
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: unpack(archive, tmp_path / "cache"), range(8)))
    assert folders == {tmp_path / "cache" / archive.hash}
    assert len(list(folders.pop().rglob("*.py"))) == 300


# Stops in the middle of its unpacking, at the second file.
_HALTING = """
import os, shutil, signal, sys, zipfile
from pathlib import Path
from control.archive.pack import read_archive
from control.archive.unpack import unpack
real, count = shutil.copyfileobj, 0
def halting(*arguments):
    global count
    count += 1
    if count == 2:
        os.kill(os.getpid(), signal.SIGSTOP)
    real(*arguments)
shutil.copyfileobj = halting
unpack(read_archive(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_a_command_killed_in_the_middle_is_in_nobodys_way(tmp_path: Path) -> None:
    archive, cache = packed(tmp_path), tmp_path / "cache"
    halted = child(_HALTING, archive.path, cache)
    try:
        os.waitpid(halted.pid, os.WUNTRACED)
        draft = cache / f".{archive.hash}.draft"
        assert len([path for path in draft.rglob("*") if path.is_file()]) == 2
        assert not (cache / archive.hash).exists()
        with ThreadPoolExecutor(1) as pool:
            # It waits for the other one, which may go on any moment.
            waiting = pool.submit(unpack, archive, cache)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            halted.send_signal(signal.SIGKILL)
            folder = waiting.result(timeout=30)
    finally:
        halted.kill()
        halted.communicate()
    assert sorted(path.name for path in cache.iterdir()) == sorted(
        [f".{archive.hash}.lock", archive.hash]
    )
    assert sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    ) == sorted([*CODE, MANIFEST])


def test_drafts_of_killed_commands_are_swept_after_a_day(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, {".old.draft": "x", ".new.draft": "x"})
    os.utime(out / ".old.draft", (0, 0))
    archive = packed(tmp_path)
    assert sorted(path.name for path in out.iterdir()) == [".new.draft", archive.path.name]
