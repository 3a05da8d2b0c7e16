"""The schema registry by its Confluent API: what the control plane needs of it."""

import json
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from control.errors import SluiceError
from control.settings import PROJECT_ROOT, public

# A new version must be readable by every older reader's data, not only by the last one's.
COMPATIBILITY = "BACKWARD_TRANSITIVE"

_SCHEMAS = PROJECT_ROOT / "schemas"
_TIMEOUT_SECONDS = 10
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryClient:
    """A thin client; every refusal becomes an error for a person."""

    def __init__(self, url: SecretStr) -> None:
        self._shown = public(url)
        self._base = url.get_secret_value().rstrip("/")
        self._client = httpx.Client(
            timeout=_TIMEOUT_SECONDS,
            headers={"Content-Type": _CONTENT_TYPE},
        )

    def compatibility(self) -> str:
        """Return the rule that new versions are held to."""
        answer = self._ask("GET", "/config")
        return str(answer.get("compatibilityLevel") or answer.get("compatibility"))

    def set_compatibility(self, level: str) -> None:
        """Set the rule for all subjects."""
        self._ask("PUT", "/config", {"compatibility": level})

    def subjects(self) -> list[str]:
        """Return the names under which schemas are registered."""
        return sorted(map(str, self._ask("GET", "/subjects")))

    def register(self, subject: str, schema: object) -> int:
        """Register a schema, or find it registered; return its id."""
        body = {"schema": json.dumps(schema), "schemaType": "AVRO"}
        return int(self._ask("POST", f"/subjects/{subject}/versions", body)["id"])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        try:
            answer = self._client.request(method, f"{self._base}{path}", json=body)
        except httpx.HTTPError as error:
            message = f"The registry at {self._shown} does not answer: {error}"
            raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
        if not answer.is_success:
            message = (
                f"The registry at {self._shown} refused {method} {path}:"
                f" {answer.status_code} {answer.text[:300]}"
            )
            raise SluiceError(message, "Check SLUICE_REGISTRY_URL: it ends in the Confluent API.")
        return answer.json()


def schema_files(folder: Path = _SCHEMAS) -> list[Path]:
    """Return the Avro schemas in git: by domain, the older versions first."""
    return sorted(folder.glob("*/v*.avsc"), key=lambda path: (path.parent.name, _version(path)))


def _version(path: Path) -> int:
    return int(path.stem.removeprefix("v"))


def record_name(schema: dict[str, object]) -> str:
    """Return the full name of a record, which is its subject."""
    return f"{schema['namespace']}.{schema['name']}"
