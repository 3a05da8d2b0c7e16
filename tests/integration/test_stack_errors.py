"""What goes wrong before a server runs: one clear error, the right exit code, nothing half done."""

import contextlib
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.kit.stack import TestStack

Maker = Callable[..., TestStack]


def _error_lines(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("Error:")]


def test_no_network(small_stack: Maker, tmp_path: Path) -> None:
    stack = small_stack(
        SLUICE_CACHE=str(tmp_path), SLUICE_MAVEN_URL="http://127.0.0.1:1/maven"
    )
    done = stack.run("stack", "up", "--only", "kafka,redis")
    assert done.returncode == 1
    assert len(_error_lines(done.stderr)) == 1
    assert "SLUICE_MAVEN_URL" in done.stderr
    assert "Traceback" not in done.stderr
    assert stack.processes() == []


@pytest.fixture
def wrong_repository() -> Iterator[str]:
    """Yield a repository whose every file has the wrong content."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"x" * 45_000_000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # The first wrong file ends all downloads: the others are cut off half-way.
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - their name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_wrong_checksum(small_stack: Maker, tmp_path: Path, wrong_repository: str) -> None:
    stack = small_stack(SLUICE_CACHE=str(tmp_path), SLUICE_MAVEN_URL=wrong_repository)
    done = stack.run("stack", "up", "--only", "kafka")
    assert done.returncode == 1
    assert len(_error_lines(done.stderr)) == 1
    assert "checksum" in done.stderr
    assert stack.processes() == []
    # What was cut off half-way may stay as a .part; only a checked file gets its name.
    assert not list(tmp_path.rglob("*.jar"))


def test_no_write_permission(small_stack: Maker, tmp_path: Path) -> None:
    # A file where a folder is needed: root may write into any folder, whatever its mode.
    (tmp_path / "file").write_text("")
    stack = TestStack(tmp_path / "file" / "home")
    done = stack.run("stack", "up", "--only", "redis")
    assert done.returncode == 1
    assert len(_error_lines(done.stderr)) == 1
    assert "SLUICE_HOME" in done.stderr


def test_no_java_where_the_setting_says(small_stack: Maker, tmp_path: Path) -> None:
    stack = small_stack(SLUICE_JAVA_HOME=str(tmp_path))
    done = stack.run("stack", "up", "--only", "kafka")
    assert done.returncode == 1
    assert "There is no Java in" in done.stderr
    assert "SLUICE_JAVA_HOME" in done.stderr
    assert stack.processes() == []


def test_a_server_that_cannot_start_is_undone(small_stack: Maker) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "redis")
    stack.ok("stack", "down")
    # A file that the server cannot read as its data.
    append_only = next((stack.home / "data" / "redis").rglob("*.manifest"))
    append_only.write_text("nonsense\n")
    done = stack.run("stack", "up", "--only", "redis,postgres")
    assert done.returncode == 1
    assert "redis" in _error_lines(done.stderr)[0]
    assert "stack logs redis" in done.stderr
    entries = stack.status()
    assert entries["redis"]["state"] == "down"
    assert entries["postgres"]["state"] == "up", "the others are not taken down with it"


def test_a_half_written_download_is_finished(small_stack: Maker, tmp_path: Path) -> None:
    stack = small_stack()
    stack.ok("stack", "up", "--only", "kafka")
    stack.ok("stack", "down")
    jars = sorted((_cache() / "maven").rglob("kafka-clients-*.jar"))
    whole = jars[0].read_bytes()

    class Handler(http.server.SimpleHTTPRequestHandler):
        ranges: list[str | None] = []

        def do_GET(self) -> None:
            file = _cache() / "maven" / self.path.lstrip("/")
            body = file.read_bytes()
            wanted = self.headers.get("Range")
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if file == jars[0]:
                self.ranges.append(wanted)
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start:])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - their name
            pass

    cache = tmp_path / "cache"
    part = cache / jars[0].relative_to(_cache())
    part = part.with_name(part.name + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(whole[:5_000_000])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        other = small_stack(
            "-cold", SLUICE_CACHE=str(cache),
            SLUICE_MAVEN_URL=f"http://127.0.0.1:{server.server_address[1]}",
        )
        other.ok("stack", "up", "--only", "kafka")
        server.shutdown()
    assert Handler.ranges == ["bytes=5000000-"]


def _cache() -> Path:
    from control.settings import load_settings

    return load_settings().cache_dir


def test_without_a_jdk_the_packaged_runtime_runs_everything(small_stack: Maker) -> None:
    stack = small_stack(SLUICE_JAVA_HOME="bundled")
    stack.ok("stack", "up", "--only", "kafka,registry,elasticsearch,flink")
    entries = stack.status()
    assert {entry["state"] for entry in entries.values()} == {"up"}
    url = f"{entries['elasticsearch']['address']}/events-2026.01.01/_doc/1"
    httpx.put(url, json={"event_id": "1"}, timeout=30).raise_for_status()
    stack.kill("elasticsearch")
    assert "restarted" in stack.ok("stack", "up", "--only", "elasticsearch")
    assert httpx.get(url, timeout=30).json()["_source"] == {"event_id": "1"}


def test_as_root_other_peoples_modes_stay(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    parents = [closed, *closed.parents]
    modes = [parent.stat().st_mode for parent in parents]
    stack = TestStack(closed / "home")
    try:
        stack.ok("stack", "up", "--only", "postgres")
        entry = stack.status()["postgres"]
        assert entry["state"] == "up"
        assert [parent.stat().st_mode for parent in parents] == modes
        owner = Path(entry["data"]).stat().st_uid
        if os.geteuid() == 0:
            assert owner != 0
            assert not Path(entry["data"]).is_relative_to(closed)
        else:
            assert owner == os.geteuid()
    finally:
        stack.destroy()
    assert not Path(entry["data"]).exists()
