"""The downloader, against a real HTTP server that can misbehave."""

import hashlib
import re
import socket
import threading
from pathlib import Path

import pytest

from control.errors import SluiceError
from control.settings import load_settings
from control.stack.artifacts import ArtifactCache, PinnedFile, load_artifacts
from tests.unit.file_server import FileServer

CONTENT = bytes(range(256)) * 4096
SIZE = len(CONTENT)
COORDINATES = "org.example.tools:thing:1.2@jar"
PATH = "org/example/tools/thing/1.2/thing-1.2.jar"


class Counter:
    """Adds up the progress that it is told of."""

    def __init__(self) -> None:
        self.total = 0
        self.highest = 0
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self.total += count
            self.highest = max(self.highest, self.total)


def pinned(content: bytes = CONTENT, coordinates: str = COORDINATES) -> PinnedFile:
    return PinnedFile(coordinates, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def cache(tmp_path: Path, server: FileServer) -> ArtifactCache:
    server.files[f"/{PATH}"] = CONTENT
    return ArtifactCache(tmp_path, server.url)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "maven" / PATH


@pytest.fixture
def part(target: Path) -> Path:
    target.parent.mkdir(parents=True)
    return target.with_name(f"{target.name}.part")


def visible(folder: Path) -> list[str]:
    """Return the files below a folder but for the locks, which stay on purpose."""
    return [file.name for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock"]


@pytest.mark.parametrize(("coordinates", "path"), [
    ("org.a.b:c:1.0@jar", "org/a/b/c/1.0/c-1.0.jar"),
    ("org.a:c:1.0:all@tar.gz", "org/a/c/1.0/c-1.0-all.tar.gz"),
])
def test_coordinates_become_a_maven_path(coordinates: str, path: str) -> None:
    assert pinned(coordinates=coordinates).path == path


def test_a_fresh_download_is_complete(
    cache: ArtifactCache, server: FileServer, target: Path
) -> None:
    counter = Counter()
    cache.fetch([pinned()], counter)
    assert target.read_bytes() == CONTENT
    assert [(request.range, request.sent) for request in server.requests] == [(None, SIZE)]
    assert counter.total == SIZE
    assert visible(target.parent) == [target.name]


def test_a_file_that_is_here_is_not_asked_for(cache: ArtifactCache, server: FileServer) -> None:
    cache.fetch([pinned()], Counter())
    counter = Counter()
    cache.fetch([pinned()], counter)
    assert len(server.requests) == 1
    assert counter.total == SIZE


def test_a_file_of_the_wrong_size_counts_as_missing(
    cache: ArtifactCache, target: Path, part: Path
) -> None:
    target.write_bytes(CONTENT[:-1])
    artifact = load_artifacts()["java-compiler"]
    assert cache.missing([artifact]) == list(artifact.files)
    cache.fetch([pinned()], Counter())
    assert target.read_bytes() == CONTENT


def test_a_half_written_part_is_resumed(
    cache: ArtifactCache, server: FileServer, target: Path, part: Path
) -> None:
    part.write_bytes(CONTENT[:1000])
    counter = Counter()
    cache.fetch([pinned()], counter)
    assert target.read_bytes() == CONTENT
    assert [(request.range, request.sent) for request in server.requests] == [
        ("bytes=1000-", SIZE - 1000)
    ]
    assert counter.total == counter.highest == SIZE


def test_a_complete_part_is_checked_and_not_fetched_again(
    cache: ArtifactCache, server: FileServer, target: Path, part: Path
) -> None:
    part.write_bytes(CONTENT)
    cache.fetch([pinned()], Counter())
    assert target.read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("leftover", [b"x" * 1000, b"x" * SIZE, b"x" * (SIZE + 1)])
def test_a_part_of_something_else_is_thrown_away(
    cache: ArtifactCache, target: Path, part: Path, leftover: bytes
) -> None:
    part.write_bytes(leftover)
    counter = Counter()
    cache.fetch([pinned()], counter)
    assert target.read_bytes() == CONTENT
    assert counter.total == SIZE


def test_a_server_without_ranges_restarts_from_zero(
    cache: ArtifactCache, server: FileServer, target: Path, part: Path
) -> None:
    server.ranges = False
    part.write_bytes(b"x" * 1000)
    counter = Counter()
    cache.fetch([pinned()], counter)
    assert target.read_bytes() == CONTENT
    assert [request.sent for request in server.requests] == [SIZE]
    assert counter.total == SIZE


@pytest.mark.parametrize("chunked", [False, True])
def test_a_cut_connection_is_retried_and_resumed(
    cache: ArtifactCache, server: FileServer, target: Path, chunked: bool
) -> None:
    server.chunked = chunked
    server.cuts = [300_000]
    counter = Counter()
    cache.fetch([pinned()], counter)
    assert target.read_bytes() == CONTENT
    first, second = server.requests
    assert first.range is None
    assert second.range is not None
    resumed_at = SIZE - second.sent
    assert second.range == f"bytes={resumed_at}-"
    assert 0 < resumed_at <= 300_000
    assert counter.total == counter.highest == SIZE


def test_an_answer_that_is_no_http_is_retried(
    cache: ArtifactCache, server: FileServer, target: Path
) -> None:
    server.garbage = 2
    cache.fetch([pinned()], Counter())
    assert target.read_bytes() == CONTENT


def test_a_server_that_speaks_no_http_is_one_clear_error(
    cache: ArtifactCache, server: FileServer
) -> None:
    server.garbage = 99
    with pytest.raises(SluiceError, match="mail server"):
        cache.fetch([pinned()], Counter())


def test_a_connection_cut_every_time_gives_up_and_keeps_what_came(
    cache: ArtifactCache, server: FileServer, target: Path
) -> None:
    server.cuts = [1000] * 3
    counter = Counter()
    with pytest.raises(SluiceError, match="3000 of 1048576 bytes"):
        cache.fetch([pinned()], counter)
    assert counter.total == 0
    assert visible(target.parent) == [f"{target.name}.part"]
    cache.fetch([pinned()], counter)
    assert server.requests[-1].range == "bytes=3000-"
    assert target.read_bytes() == CONTENT


def test_a_wrong_checksum_names_both_and_leaves_nothing(
    cache: ArtifactCache, server: FileServer, target: Path
) -> None:
    server.files[f"/{PATH}"] = bad = b"x" * SIZE
    counter = Counter()
    with pytest.raises(SluiceError) as caught:
        cache.fetch([pinned()], counter)
    message = caught.value.message
    assert "thing-1.2.jar" in message
    assert f"expected sha256 {pinned().sha256}" in message
    assert f"got {hashlib.sha256(bad).hexdigest()}" in message
    assert visible(target.parent) == []
    assert counter.total == 0


def test_a_file_that_is_not_there_is_asked_for_once(
    cache: ArtifactCache, server: FileServer
) -> None:
    server.files.clear()
    with pytest.raises(SluiceError, match=r"thing-1\.2\.jar.*404"):
        cache.fetch([pinned()], Counter())
    assert len(server.requests) == 1


def test_no_network_is_one_clear_error_with_the_setting(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SluiceError, match="refused") as caught:
            ArtifactCache(tmp_path, url).fetch([pinned()], Counter())
    assert "SLUICE_MAVEN_URL" in caught.value.hint
    assert visible(tmp_path) == []


def test_a_mirror_without_a_scheme_is_refused_with_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLUICE_MAVEN_URL", "mirror/maven2")
    with pytest.raises(SluiceError, match="SLUICE_MAVEN_URL"):
        load_settings()


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "maven").write_text("a file where a folder is needed")
    with pytest.raises(SluiceError, match="cannot be written") as caught:
        ArtifactCache(tmp_path, server.url).fetch([pinned()], Counter())
    assert "SLUICE_CACHE" in caught.value.hint
    assert server.requests == []


def test_a_full_disk_is_not_taken_for_the_network(
    cache: ArtifactCache, server: FileServer, part: Path
) -> None:
    # Every write to this device fails with ENOSPC.
    part.symlink_to("/dev/full")
    with pytest.raises(SluiceError, match="No space left"):
        cache.fetch([pinned()], Counter())
    assert len(server.requests) == 1


def test_two_threads_fetch_the_same_file_once(
    cache: ArtifactCache, server: FileServer, target: Path
) -> None:
    counter = Counter()
    threads = [threading.Thread(target=cache.fetch, args=([pinned()], counter)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert counter.total == 2 * SIZE


def test_several_files_come_side_by_side_and_sum_up(
    server: FileServer, tmp_path: Path
) -> None:
    files = []
    for number in range(9):
        content = bytes([number]) * (1000 + number)
        file = pinned(content, f"org.example:part{number}:1@jar")
        server.files[f"/{file.path}"] = content
        files.append(file)
    counter = Counter()
    cache = ArtifactCache(tmp_path, f"{server.url}/")
    cache.fetch(files, counter)
    assert counter.total == sum(file.size for file in files)
    assert len(server.requests) == 9


def test_one_missing_file_fails_the_lot_before_the_rest_is_fetched(
    server: FileServer, tmp_path: Path
) -> None:
    files = [pinned(bytes(1000 - number), f"org.example:p{number}:1@jar") for number in range(200)]
    with pytest.raises(SluiceError, match="404"):
        ArtifactCache(tmp_path, server.url).fetch(files, Counter())
    assert len(server.requests) < 200


def test_the_real_lock_is_well_formed() -> None:
    artifacts = load_artifacts()
    assert {"kafka", "registry", "elasticsearch", "flink-connectors"} <= set(artifacts)
    files = [file for artifact in artifacts.values() for file in artifact.files]
    for file in files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size > 0
        assert re.fullmatch(r"[\w.-]+(:[\w.-]+){2,3}@[a-z.]+", file.coordinates)
        assert file.path.endswith(file.coordinates.rpartition("@")[2])
    for artifact in artifacts.values():
        assert artifact.files
        assert artifact.version
        # A file listed twice would be downloaded by two threads for nothing.
        assert len({file.path for file in artifact.files}) == len(artifact.files)
