"""Ask a server something over HTTP, cheaply: `up` does it many times while servers start."""

from functools import cache
from typing import Any

import httpx

from control.stack.component import NotReadyError

_TIMEOUT_SECONDS = 3


@cache
def _client() -> httpx.Client:
    # One for all: each new client reads the machine's certificates, 30 ms of a busy core.
    return httpx.Client(timeout=_TIMEOUT_SECONDS)


def ask(url: str) -> Any:
    """Return a server's JSON answer, or raise NotReadyError with what it said."""
    try:
        answer = _client().get(url)
        if not answer.is_success:
            reason = f"{url} answered {answer.status_code}: {answer.text[:200]}"
            raise NotReadyError(reason)
        return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        reason = f"no answer from {url}: {error}"
        raise NotReadyError(reason) from error
