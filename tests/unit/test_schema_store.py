"""Schemas by id: an unknown one is told from a registry that is away, and each is asked once."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.event_kit import contract
from udfs.reasons import Reason, RejectedError
from udfs.schema_store import RegistryAddress, SchemaStore, StoppedError, fetch_schema


class Registry:
    """A registry's answers, one after the other; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object]] = []
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Authorization")))
                more = len(outer.answers) > 1
                status, body = outer.answers.pop(0) if more else outer.answers[0]
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.port = self._server.server_address[1]

    @property
    def address(self) -> RegistryAddress:
        return RegistryAddress(f"http://127.0.0.1:{self.port}/api")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    yield made
    made.close()


TENANT = contract().tenant
FOUND = (200, {"schema": json.dumps(TENANT)})
UNKNOWN = (404, {"error_code": 40403, "message": "Schema not found"})


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def _store(registry: Registry, folder: Path, clock: Clock | None = None) -> SchemaStore:
    clock = clock or Clock()
    return SchemaStore(registry.address, folder, sleep=clock.sleep, clock=clock.read)


def test_a_schema_is_asked_for_once(registry: Registry, tmp_path: Path) -> None:
    registry.answers = [FOUND]
    store = _store(registry, tmp_path)
    assert store.schema(7) == store.schema(7) == TENANT
    assert [path for path, _ in registry.asked] == ["/api/schemas/ids/7"]


def test_the_disk_helps_while_the_registry_is_away(registry: Registry, tmp_path: Path) -> None:
    registry.answers = [FOUND]
    _store(registry, tmp_path).schema(7)
    registry.answers = [(500, b"")]
    clock = Clock()
    assert _store(registry, tmp_path, clock).schema(7) == TENANT
    assert clock.now == 100


def test_who_waits_takes_what_another_task_has_found(registry: Registry, tmp_path: Path) -> None:
    registry.answers = [(503, b"")]

    def sleep(_: float) -> None:
        (tmp_path / "7.json").write_text(json.dumps(TENANT))

    store = SchemaStore(registry.address, tmp_path, sleep=sleep)
    assert store.schema(7) == TENANT
    assert store.waiting_since == 0


def test_a_registry_that_was_made_anew_is_believed(registry: Registry, tmp_path: Path) -> None:
    registry.answers = [(200, {"schema": '{"type": "enum"}'})]
    _store(registry, tmp_path).schema(7)
    registry.answers = [FOUND]
    assert _store(registry, tmp_path).schema(7) == TENANT
    registry.answers = [UNKNOWN]
    with pytest.raises(RejectedError):
        _store(registry, tmp_path).schema(7)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_broken_file_on_disk_is_not_believed(
    registry: Registry, tmp_path: Path, content: bytes
) -> None:
    registry.answers = [(503, b""), FOUND]
    (tmp_path / "7.json").write_bytes(content)
    assert _store(registry, tmp_path).schema(7) == TENANT
    assert len(registry.asked) == 2


def test_a_disk_that_cannot_be_written_stops_nothing(registry: Registry, tmp_path: Path) -> None:
    registry.answers = [FOUND]
    (tmp_path / "file").write_text("")
    assert _store(registry, tmp_path / "file" / "folder").schema(7) == TENANT


def test_an_unknown_id_is_a_reason_to_refuse(registry: Registry, tmp_path: Path) -> None:
    registry.answers = [UNKNOWN]
    clock = Clock()
    store = _store(registry, tmp_path, clock)
    for _ in range(3):
        with pytest.raises(RejectedError) as caught:
            store.schema(9)
        assert caught.value.reason is Reason.UNKNOWN_SCHEMA
    assert len(registry.asked) == 1
    # It may have been registered since.
    clock.now += 11
    registry.answers = [FOUND]
    assert store.schema(9) == TENANT


@pytest.mark.parametrize("away", [
    (500, b""), (503, b"starting"), (401, b""), (404, b"<html>no such page</html>"),
    (404, {"error_code": 404}), (200, b"<html>"), (200, {"nothing": 1}),
])
def test_a_registry_that_is_away_is_waited_for(
    registry: Registry, tmp_path: Path, away: tuple[int, object]
) -> None:
    registry.answers = [away, away, away, FOUND]
    clock = Clock()
    store = _store(registry, tmp_path, clock)
    assert store.schema(7) == TENANT
    assert len(registry.asked) == 4
    assert store.waiting_since == 0
    # 0.2, 0.4 and 0.8 s, each with jitter.
    assert 0.9 < clock.now - 100 < 1.9


def test_a_port_that_nobody_answers_is_waited_for(registry: Registry, tmp_path: Path) -> None:
    registry.close()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)

    store = SchemaStore(
        registry.address, tmp_path, stopped=lambda: len(waits) > 20, sleep=sleep,
    )
    with pytest.raises(StoppedError):
        store.schema(7)
    assert store.waiting_since > 0


@pytest.mark.parametrize("schema", ['"string"', "[]", '{"type": "enum"}'])
def test_what_is_no_record_never_becomes_an_event(
    registry: Registry, tmp_path: Path, schema: str
) -> None:
    registry.answers = [(200, {"schema": schema})]
    store = _store(registry, tmp_path)
    if schema.startswith("{"):
        assert store.schema(7) == {"type": "enum"}
    else:
        with pytest.raises(RejectedError) as caught:
            store.schema(7)
        assert caught.value.reason is Reason.WRONG_RECORD


def test_a_password_is_sent_and_never_shown(registry: Registry) -> None:
    registry.answers = [FOUND]
    address = RegistryAddress(f"http://sam:s%40cret@127.0.0.1:{registry.port}/api")
    assert fetch_schema(address, 1) == TENANT
    assert registry.asked[0][1] == "Basic c2FtOnNAY3JldA=="
    assert "cret" not in repr(address)
