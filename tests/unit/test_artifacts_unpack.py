"""Unpacking what was downloaded."""

import io
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from control.errors import SluiceError
from control.stack.artifacts import Artifact, ArtifactCache, PinnedFile

Entries = dict[str, tuple[bytes, int]]

PROGRAM: Entries = {
    "tool-1/bin/run": (b"#!/bin/sh\n", 0o755),
    "tool-1/conf/settings": (b"a=1\n", 0o640),
}


def tar_of(entries: Entries) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, (content, mode) in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(entries: Entries) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, (content, mode) in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def stored(folder: Path, extension: str, content: bytes) -> Artifact:
    """Put an archive where the cache keeps what it downloaded."""
    file = PinnedFile(f"org.example:tool:1@{extension}", len(content), "0" * 64)
    target = folder / "maven" / file.path
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    return Artifact("tool", "1", (file,))


def packed(folder: Path, extension: str, entries: Entries) -> Artifact:
    content = zip_of(entries) if extension == "zip" else tar_of(entries)
    return stored(folder, extension, content)


both = pytest.mark.parametrize("extension", ["tar.gz", "zip"])


@both
def test_the_single_top_folder_is_stripped_and_modes_are_kept(
    tmp_path: Path, extension: str
) -> None:
    artifact = packed(tmp_path, extension, PROGRAM)
    folder = ArtifactCache(tmp_path).unpacked(artifact)
    assert folder == tmp_path / "tool-1"
    assert (folder / "conf" / "settings").read_bytes() == b"a=1\n"
    assert (folder / "bin" / "run").stat().st_mode & 0o777 == 0o755
    assert (folder / "conf" / "settings").stat().st_mode & 0o777 == 0o640
    assert not (tmp_path / ".tool-1.draft").exists()


@both
def test_an_archive_without_a_top_folder_keeps_its_files(tmp_path: Path, extension: str) -> None:
    artifact = packed(tmp_path, extension, {"a": (b"1", 0o644), "b/c": (b"2", 0o644)})
    folder = ArtifactCache(tmp_path).unpacked(artifact)
    assert (folder / "a").read_bytes() == b"1"
    assert (folder / "b" / "c").read_bytes() == b"2"


@both
def test_an_archive_of_one_file_is_no_top_folder(tmp_path: Path, extension: str) -> None:
    artifact = packed(tmp_path, extension, {"a": (b"1", 0o644)})
    assert (ArtifactCache(tmp_path).unpacked(artifact) / "a").read_bytes() == b"1"


@both
def test_a_killed_unpack_is_done_again(tmp_path: Path, extension: str) -> None:
    artifact = packed(tmp_path, extension, PROGRAM)
    draft = tmp_path / ".tool-1.draft"
    (draft / "tool-1" / "bin").mkdir(parents=True)
    (draft / "tool-1" / "bin" / "run").write_bytes(b"hal")
    (draft / "stray").touch()
    folder = ArtifactCache(tmp_path).unpacked(artifact)
    assert (folder / "bin" / "run").read_bytes() == b"#!/bin/sh\n"
    assert not (folder / "stray").exists()
    assert not draft.exists()


def test_a_second_time_unpacks_nothing(tmp_path: Path) -> None:
    artifact = packed(tmp_path, "tar.gz", PROGRAM)
    cache = ArtifactCache(tmp_path)
    mark = cache.unpacked(artifact) / "mark"
    mark.touch()
    assert (cache.unpacked(artifact) / "mark").exists()


def test_it_unpacks_into_another_folder_on_request(tmp_path: Path) -> None:
    artifact = packed(tmp_path, "tar.gz", PROGRAM)
    folder = ArtifactCache(tmp_path).unpacked(artifact, tmp_path / "elsewhere")
    assert folder == tmp_path / "elsewhere" / "tool-1"
    assert (folder / "bin" / "run").exists()


@pytest.mark.parametrize("name", ["../evil", "tool-1/../../evil"])
def test_a_tar_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    artifact = packed(tmp_path / "cache", "tar.gz", {name: (b"x", 0o644)})
    with pytest.raises(SluiceError, match="cannot be unpacked"):
        ArtifactCache(tmp_path / "cache").unpacked(artifact)
    assert list(tmp_path.rglob("evil")) == []
    assert not (tmp_path / "cache" / "tool-1").exists()
    assert not (tmp_path / "cache" / ".tool-1.draft").exists()


def test_a_zip_that_points_outside_stays_inside(tmp_path: Path) -> None:
    artifact = packed(tmp_path / "cache", "zip", {"../evil": (b"x", 0o644)})
    folder = ArtifactCache(tmp_path / "cache").unpacked(artifact)
    assert list(tmp_path.rglob("evil")) == [folder / "evil"]


@both
def test_a_broken_archive_is_one_clear_error(tmp_path: Path, extension: str) -> None:
    artifact = stored(tmp_path, extension, b"this is no archive")
    with pytest.raises(SluiceError, match="cannot be unpacked"):
        ArtifactCache(tmp_path).unpacked(artifact)


def test_a_truncated_tar_is_one_clear_error(tmp_path: Path) -> None:
    whole = tar_of({"tool-1/big": (bytes(range(256)) * 4096, 0o644)})
    artifact = stored(tmp_path, "tar.gz", whole[: len(whole) // 2])
    with pytest.raises(SluiceError, match="cannot be unpacked"):
        ArtifactCache(tmp_path).unpacked(artifact)
    assert not (tmp_path / "tool-1").exists()


def test_two_threads_unpack_once(tmp_path: Path) -> None:
    artifact = packed(tmp_path, "tar.gz", PROGRAM)
    cache = ArtifactCache(tmp_path)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(cache.unpacked(artifact))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "tool-1"] * 4
    assert sorted(entry.name for entry in found[0].iterdir()) == ["bin", "conf"]
