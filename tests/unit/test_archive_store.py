"""Archives kept in a folder, and which store an address means."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from control.archive.pack import Archive
from control.archive.s3 import S3Store
from control.archive.s3_access import S3Access
from control.archive.store import ArchiveStore, FolderStore, open_store
from control.archive.stored import (
    ArchiveMissingError,
    StoreAccessError,
    StoreAwayError,
    StoredArchive,
)
from control.errors import MisuseError, RefusedError, SluiceError
from tests.unit.archive_kit import packed

HASH = "0" * 64
ACCESS = S3Access("http://127.0.0.1:9000", "", "key", SecretStr("secret"))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return packed(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "of archives"


def test_what_was_put_is_got(archive: Archive, folder: Path, tmp_path: Path) -> None:
    store: ArchiveStore = FolderStore(folder)
    assert not store.has(archive.hash)
    assert store.list() == []
    store.put(archive)
    assert store.has(archive.hash)
    assert list(folder.iterdir()) == [folder / f"{archive.hash}.zip"]
    got = store.get(archive.hash, tmp_path / "into")
    assert got == tmp_path / "into" / f"{archive.hash}.zip"
    assert got.read_bytes() == archive.path.read_bytes()


def test_put_twice_leaves_the_first(archive: Archive, folder: Path) -> None:
    store = FolderStore(folder)
    store.put(archive)
    os.utime(folder / f"{archive.hash}.zip", (1000, 1000))
    archive.path.unlink()
    store.put(archive)
    at = datetime.fromtimestamp(1000, UTC)
    assert store.list() == [StoredArchive(archive.hash, archive.size, at)]


def test_one_that_was_cut_short_is_mended(archive: Archive, folder: Path, tmp_path: Path) -> None:
    store = FolderStore(folder)
    store.put(archive)
    os.truncate(folder / f"{archive.hash}.zip", 10)
    store.put(archive)
    store.get(archive.hash, tmp_path / "into")


def test_the_newest_comes_first_and_nothing_else_is_listed(tmp_path: Path, folder: Path) -> None:
    store = FolderStore(folder)
    archives = [packed(tmp_path, number=number) for number in range(3)]
    for number, one in enumerate(archives):
        store.put(one)
        os.utime(folder / f"{one.hash}.zip", (number, number))
    for other in ("notes.txt", "abc.zip", f"{HASH}.zip.part", f".{HASH}.draft", f"X{HASH}.zip"):
        (folder / other).touch()
    assert [one.hash for one in store.list()] == [one.hash for one in reversed(archives)]


def test_what_is_deleted_is_gone(archive: Archive, folder: Path) -> None:
    store = FolderStore(folder)
    store.put(archive)
    store.delete(archive.hash)
    assert not store.has(archive.hash)
    store.delete(archive.hash)


def test_an_archive_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveMissingError, match=HASH) as error:
        FolderStore(folder).get(HASH, tmp_path / "into")
    assert str(folder) in error.value.message
    assert "SLUICE_ARCHIVE_STORE" in error.value.hint


def test_a_damaged_archive_is_not_handed_out(
    archive: Archive, folder: Path, tmp_path: Path
) -> None:
    store = FolderStore(folder)
    store.put(archive)
    content = bytearray(archive.path.read_bytes())
    content[7] ^= 1
    (folder / f"{archive.hash}.zip").write_bytes(content)
    with pytest.raises(RefusedError, match="damaged"):
        store.get(archive.hash, tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


def test_an_archive_that_changed_since_it_was_packed_is_not_kept(
    archive: Archive, folder: Path
) -> None:
    archive.path.write_bytes(b"x" * archive.size)
    with pytest.raises(RefusedError, match="damaged"):
        FolderStore(folder).put(archive)
    archive.path.unlink()
    with pytest.raises(SluiceError, match="cannot be read"):
        FolderStore(folder).put(archive)
    assert list(folder.iterdir()) == []


def test_what_is_here_already_is_not_fetched_unless_it_is_damaged(
    archive: Archive, folder: Path, tmp_path: Path
) -> None:
    store, into = FolderStore(folder), tmp_path / "into"
    store.put(archive)
    got = store.get(archive.hash, into)
    got.write_bytes(b"damaged")
    assert store.get(archive.hash, into).read_bytes() == archive.path.read_bytes()
    store.delete(archive.hash)
    assert store.get(archive.hash, into) == got


def test_it_is_on_the_disk_before_it_has_its_name(
    archive: Archive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append((path.is_dir(), (folder / f"{archive.hash}.zip").exists()))
        real(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    FolderStore(folder).put(archive)
    assert seen == [(False, False), (True, True)]


def test_two_who_put_and_get_at_once(archive: Archive, folder: Path, tmp_path: Path) -> None:
    def work(number: int) -> bytes:
        FolderStore(folder).put(archive)
        return FolderStore(folder).get(archive.hash, tmp_path / f"{number % 2}").read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(16))) == {archive.path.read_bytes()}
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("name", ["../../etc/passwd", HASH[:-1], HASH.replace("0", "A"), "", "."])
def test_what_is_no_hash_leads_nowhere(folder: Path, tmp_path: Path, name: str) -> None:
    store = FolderStore(folder)
    works: list[Callable[[], object]] = [
        lambda: store.has(name), lambda: store.delete(name), lambda: store.get(name, tmp_path),
    ]
    for work in works:
        with pytest.raises(MisuseError, match="no archive's hash"):
            work()


_REFUSALS = {
    PermissionError: (StoreAccessError, "does not let us"),
    OSError: (StoreAwayError, "cannot be used"),
}


@pytest.mark.parametrize("kind", list(_REFUSALS))
def test_a_folder_that_fails_is_told(
    archive: Archive, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    kind: type[OSError],
) -> None:
    store = FolderStore(folder)
    store.put(archive)

    def fail(*_: object, **__: object) -> None:
        raise kind(5, "for a reason")

    for name in ("unlink", "is_file", "iterdir", "mkdir"):
        monkeypatch.setattr(Path, name, fail)
    expected, words = _REFUSALS[kind]
    works: list[Callable[[], object]] = [
        lambda: store.put(archive), lambda: store.has(archive.hash), store.list,
        lambda: store.delete(archive.hash), lambda: store.get(archive.hash, tmp_path / "into"),
    ]
    for work in works:
        with pytest.raises(expected, match=f"{words}: for a reason"):
            work()


def test_an_archive_that_cannot_be_read_is_the_stores_fault(
    archive: Archive, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> Iterator[bytes]:
        yield b"so far so good"
        raise OSError(5, "Input/output error")

    FolderStore(folder).put(archive)
    monkeypatch.setattr("control.archive.store.read_chunks", fail)
    with pytest.raises(StoreAwayError, match="Input/output error"):
        FolderStore(folder).get(archive.hash, tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


def test_a_store_that_is_a_file_is_told(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(StoreAwayError, match="cannot be used"):
        FolderStore(tmp_path / "store").put(archive)


def test_a_folder_to_fetch_into_that_cannot_be_written_is_told(
    archive: Archive, folder: Path, tmp_path: Path
) -> None:
    FolderStore(folder).put(archive)
    (tmp_path / "into").touch()
    with pytest.raises(SluiceError, match="cannot be written into"):
        FolderStore(folder).get(archive.hash, tmp_path / "into")


@pytest.mark.parametrize(("address", "path"), [
    ("/a/b c", "/a/b c"), ("file:///a/b", "/a/b"), ("FILE:///a/b%20c", "/a/b c"),
    ("file://localhost/a", "/a"), ("file:///a?b#c", "/a?b#c"), ("file:///a/é", "/a/é"),
])
def test_a_path_means_a_folder(address: str, path: str) -> None:
    store = open_store(address)
    assert isinstance(store, FolderStore)
    assert str(store) == path


def test_short_paths_mean_folders_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(open_store("archives")) == str(tmp_path / "archives")
    assert str(open_store("~/archives")) == "/home/somebody/archives"


@pytest.mark.parametrize(("address", "name"), [
    ("s3://bucket", "s3://bucket/ at"), ("s3://bucket/", "s3://bucket/ at"),
    ("S3://bucket/a b/é/", "s3://bucket/a b/é/ at"),
    ("s3://bucket//a#b?c", "s3://bucket/a#b?c/ at"),
])
def test_a_bucket_means_s3(address: str, name: str) -> None:
    store = open_store(address, ACCESS)
    assert isinstance(store, S3Store)
    assert str(store).startswith(name)


@pytest.mark.parametrize("address", [
    "", " ", "gs://bucket", "https://me:pass@store/x", "file://host/a", "file://",
    "s3://", "s3:///a",
])
def test_an_address_that_means_nothing_is_refused(address: str) -> None:
    with pytest.raises(MisuseError) as error:
        open_store(address, ACCESS)
    assert "pass@" not in error.value.message + error.value.hint
    assert "SLUICE_ARCHIVE_STORE" in error.value.hint


def test_s3_without_an_access_is_refused() -> None:
    with pytest.raises(MisuseError) as error:
        open_store("s3://bucket")
    assert "SLUICE_S3_KEY" in error.value.hint
