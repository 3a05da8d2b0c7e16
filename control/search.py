"""Elasticsearch as the control plane sees it: the template that every daily index follows."""

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpx
from pydantic import SecretStr

from control.errors import SluiceError
from control.settings import PROJECT_ROOT, public

_TEMPLATE = "/_index_template/sluice-events"
_FILE = PROJECT_ROOT / "schemas" / "search" / "events.json"
_TIMEOUT_SECONDS = 15
_PATIENCE_SECONDS = 15.0
_PAUSE_SECONDS = 0.2
# Elasticsearch works best on a few megabytes at once, and takes a hundred at most.
_BULK_BYTES = 4 * 2**20

# Too much to do, or not able to for a moment: what was asked may be asked again.
BUSY = frozenset({429, 503})
_TELLS = "`sluice stack logs elasticsearch` may tell why."


class BusyError(SluiceError):
    """Elasticsearch cannot do it just now."""


def wanted_template() -> dict[str, Any]:
    """Return the template as it lies in git."""
    content: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return content


def put_template(url: SecretStr) -> None:
    """Put the template in place; indices that exist keep their mapping."""
    ask("PUT", url, _TEMPLATE, wanted_template())


def template_version(url: SecretStr) -> int | None:
    """Return the version of the template in place, None where there is none."""
    answer = ask("GET", url, _TEMPLATE)
    templates = answer.get("index_templates", [])
    if not templates:
        return None
    return int(templates[0]["index_template"].get("version", 0))


def count_documents(url: SecretStr) -> int:
    """Return how many documents the alias `events` covers, 0 where it covers none."""
    answer = ask("GET", url, "/events/_count?ignore_unavailable=true")
    return int(answer.get("count", 0))


def ask(method: str, url: SecretStr, path: str, body: object = None) -> dict[str, Any]:
    """Ask Elasticsearch until it can do it; what is not there is an empty answer."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _answer(method, url, path, json=body)
        except BusyError:
            # The index of a new day has no shard for a moment; nothing asked here does harm twice.
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def search(url: SecretStr, path: str, body: object) -> dict[str, Any]:
    """Search; an answer without what some shard holds is an error, not fewer documents."""
    sign = "&" if "?" in path else "?"
    return ask("POST", url, f"{path}{sign}allow_partial_search_results=false", body)


def write_bulk(
    url: SecretStr, operations: Iterable[Sequence[object]]
) -> list[dict[str, Any]]:
    """Send operations, each an action and perhaps a document; return what became of each."""
    answers: list[dict[str, Any]] = []
    block = bytearray()
    for operation in operations:
        block += b"".join(json.dumps(line).encode() + b"\n" for line in operation)
        if len(block) >= _BULK_BYTES:
            answers += _send_bulk(url, bytes(block))
            block.clear()
    return answers + _send_bulk(url, bytes(block)) if block else answers


def _send_bulk(url: SecretStr, block: bytes) -> list[dict[str, Any]]:
    answer = _answer("POST", url, "/_bulk", content=block,
                     headers={"content-type": "application/x-ndjson"})
    return [next(iter(item.values())) for item in answer["items"]]


def _answer(method: str, url: SecretStr, path: str, **request: Any) -> dict[str, Any]:
    try:
        answer = httpx.request(
            method, f"{url.get_secret_value().rstrip('/')}{path}", timeout=_TIMEOUT_SECONDS,
            **request,
        )
    except httpx.TimeoutException as error:
        message = (
            f"Elasticsearch at {public(url)} did not answer {method} {path} within"
            f" {_TIMEOUT_SECONDS} seconds: it is too busy, or an index is not there."
        )
        raise BusyError(message, f"`sluice stack status` shows if it is up; {_TELLS}") from error
    except httpx.HTTPError as error:
        message = f"Elasticsearch at {public(url)} does not answer: {error}"
        raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
    if answer.status_code == httpx.codes.NOT_FOUND:
        return {}
    if not answer.is_success:
        kind = BusyError if answer.status_code in BUSY else SluiceError
        message = (
            f"Elasticsearch at {public(url)} refused {method} {path}:"
            f" {answer.status_code} {answer.text[:300]}"
        )
        raise kind(message, _TELLS)
    content: dict[str, Any] = answer.json()
    if failed := content.get("_shards", {}).get("failures"):
        # With 200 nevertheless: what these shards hold was not counted, or is not visible yet.
        message = (
            f"Elasticsearch at {public(url)} could not do {method} {path}"
            f" for {len(failed)} shard(s): {failed[0].get('reason')}"
        )
        raise BusyError(message, _TELLS)
    return content
