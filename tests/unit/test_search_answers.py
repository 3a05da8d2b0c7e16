"""What Elasticsearch answers with 200 though a part is missing."""

from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from control import search
from control.search import BusyError

URL = SecretStr("http://127.0.0.1:1")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the addresses that are asked; each answers that one of two shards failed."""
    found: list[str] = []

    def request(_method: str, url: str, **_: Any) -> httpx.Response:
        found.append(url)
        return httpx.Response(200, json={"_shards": {
            "total": 2, "successful": 1, "failed": 1,
            "failures": [{"shard": 0, "reason": {"type": "circuit_breaking_exception"}}],
        }, "count": 3})

    monkeypatch.setattr(httpx, "request", request)
    return found


def test_what_a_shard_did_not_do_is_an_error(asked: list[str]) -> None:
    with pytest.raises(BusyError, match=r"/events/_refresh for 1 shard\(s\).*circuit_breaking"):
        search.ask("POST", URL, "/events/_refresh")
    with pytest.raises(BusyError, match="_count"):
        search.count_documents(URL)
    assert len(asked) == 2


@pytest.mark.parametrize("path", ["/_search", "/events/_search?ignore_unavailable=true"])
def test_a_search_asks_for_all_or_nothing(asked: list[str], path: str) -> None:
    with pytest.raises(BusyError):
        search.search(URL, path, {})
    address = httpx.URL(asked[0])
    assert address.path == path.partition("?")[0]
    assert address.params["allow_partial_search_results"] == "false"


def test_one_that_does_not_answer_in_time_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(*_: Any, **__: Any) -> httpx.Response:
        message = "timed out"
        raise httpx.ReadTimeout(message)

    monkeypatch.setattr(httpx, "request", request)
    with pytest.raises(BusyError, match="did not answer POST /events/_refresh within"):
        search.ask("POST", URL, "/events/_refresh")
