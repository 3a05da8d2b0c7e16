"""What Elasticsearch cannot do for a moment, or answers with 200 though a part is missing."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from control import search
from control.errors import SluiceError
from control.search import BusyError
from tests.kit.fake_clock import FakeClock

URL = SecretStr("http://127.0.0.1:1")
PART = {
    "_shards": {"total": 2, "successful": 1, "failed": 1, "failures": [
        {"shard": 0, "reason": {"type": "circuit_breaking_exception"}},
    ]},
    "count": 3,
}


class Server:
    """Answers by turns, the last for ever; keeps what was asked."""

    def __init__(self) -> None:
        self.answers: list[Callable[[], httpx.Response]] = []
        self.asked: list[tuple[str, httpx.URL]] = []

    def will_answer(self, *statuses: int, body: object = None) -> None:
        """Plan answers."""
        self.answers += [
            partial(httpx.Response, status, json=body or {}) for status in statuses
        ]

    def will_raise(self, error: Exception, before: Callable[[], None] = lambda: None) -> None:
        """Plan what happens in the place of an answer."""

        def fail() -> httpx.Response:
            before()
            raise error

        self.answers.append(fail)

    def request(self, method: str, url: str, **_: Any) -> httpx.Response:
        """Answer as httpx does."""
        self.asked.append((method, httpx.URL(url)))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    made = FakeClock()
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=made.now, sleep=made.sleep))
    return made


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> Server:
    made = Server()
    monkeypatch.setattr(httpx, "request", made.request)
    return made


@pytest.mark.parametrize("status", [429, 503])
def test_what_cannot_be_done_just_now_is_asked_again(server: Server, status: int) -> None:
    server.will_answer(status, status)
    server.will_answer(200, body={"count": 3})
    assert search.count_documents(URL) == 3
    assert len(server.asked) == 3


def test_a_shard_that_answers_later_is_waited_for(server: Server) -> None:
    server.will_answer(200, body=PART)
    server.will_answer(200, body={"count": 5})
    assert search.count_documents(URL) == 5


@pytest.mark.parametrize("path", ["/events/_refresh", "/events/_count"])
def test_what_a_shard_never_does_is_an_error(
    server: Server, clock: FakeClock, path: str
) -> None:
    server.will_answer(200, body=PART)
    begun = clock.now()
    with pytest.raises(BusyError, match=rf"{path} for 1 shard\(s\).*circuit_breaking"):
        search.ask("POST", URL, path)
    assert 15 <= clock.now() - begun < 20


@pytest.mark.parametrize("path", ["/_search", "/events/_search?ignore_unavailable=true"])
def test_a_search_asks_for_all_or_nothing(server: Server, path: str) -> None:
    server.will_answer(503)
    server.will_answer(200)
    search.search(URL, path, {})
    assert len(server.asked) == 2
    for _, address in server.asked:
        assert address.path == path.partition("?")[0]
        assert address.params["allow_partial_search_results"] == "false"


def test_what_is_refused_is_not_asked_again(server: Server) -> None:
    server.will_answer(400)
    with pytest.raises(SluiceError, match="refused POST /events/_search: 400"):
        search.ask("POST", URL, "/events/_search")
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_not_waited_for(server: Server) -> None:
    server.will_raise(httpx.ConnectError("refused"))
    with pytest.raises(SluiceError, match="does not answer") as error:
        search.ask("GET", URL, "/events/_count")
    assert "stack status" in error.value.hint
    assert len(server.asked) == 1


def test_a_bulk_is_not_sent_again(server: Server) -> None:
    # Who sends one knows which of its operations may be repeated.
    server.will_answer(429)
    with pytest.raises(BusyError):
        search.write_bulk(URL, [[{"delete": {"_id": "1"}}]])
    assert len(server.asked) == 1


def test_one_that_does_not_answer_in_time_was_waited_for(
    server: Server, clock: FakeClock
) -> None:
    server.will_raise(httpx.ReadTimeout("timed out"), before=partial(clock.sleep, 15))
    with pytest.raises(BusyError, match="did not answer POST /events/_refresh within"):
        search.ask("POST", URL, "/events/_refresh")
    assert len(server.asked) == 1
