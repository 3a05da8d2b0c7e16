"""Elasticsearch as the control plane sees it: the template that every daily index follows."""

import json
from typing import Any

import httpx
from pydantic import SecretStr

from control.errors import SluiceError
from control.settings import PROJECT_ROOT, public

_TEMPLATE = "/_index_template/sluice-events"
_FILE = PROJECT_ROOT / "schemas" / "search" / "events.json"
_TIMEOUT_SECONDS = 15


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
    """Ask Elasticsearch; what is not there is an empty answer."""
    try:
        answer = httpx.request(
            method, f"{url.get_secret_value().rstrip('/')}{path}", json=body,
            timeout=_TIMEOUT_SECONDS,
        )
    except httpx.HTTPError as error:
        message = f"Elasticsearch at {public(url)} does not answer: {error}"
        raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
    if answer.status_code == httpx.codes.NOT_FOUND:
        return {}
    if not answer.is_success:
        message = (
            f"Elasticsearch at {public(url)} refused {method} {path}:"
            f" {answer.status_code} {answer.text[:300]}"
        )
        raise SluiceError(message, "`sluice stack logs elasticsearch` may tell why.")
    content: dict[str, Any] = answer.json()
    return content
