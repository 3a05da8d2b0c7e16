"""The schema registry by its Confluent API: what the control plane needs of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from control.errors import RefusedError, SluiceError
from control.settings import PROJECT_ROOT, public

# A new version must be readable by every older reader's data, not only by the last one's.
COMPATIBILITY = "BACKWARD_TRANSITIVE"

_SCHEMAS = PROJECT_ROOT / "schemas"
_FILE = re.compile(r"v[1-9][0-9]*\.avsc")
_TIMEOUT_SECONDS = 10
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_CHECK_URL = "Check SLUICE_REGISTRY_URL: it ends in the Confluent API."


class RegistryAwayError(SluiceError):
    """The registry does not answer: what was asked may be asked again later."""


class RegistryRefusedError(SluiceError):
    """The registry answered and said no."""

    def __init__(self, message: str, hint: str, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


@dataclass(frozen=True)
class Registered:
    """A schema as the registry holds it."""

    version: int
    id: int
    schema: dict[str, Any]


class RegistryClient:
    """A thin client; every refusal becomes an error for a person."""

    def __init__(self, url: SecretStr) -> None:
        self._shown = public(url)
        self._base = url.get_secret_value().rstrip("/")
        self._client = httpx.Client(
            timeout=_TIMEOUT_SECONDS,
            headers={"Content-Type": _CONTENT_TYPE},
        )

    def compatibility(self, subject: str | None = None) -> str:
        """Return the rule that new versions are held to: a subject's, or that for all others."""
        if subject is None:
            answer = self._ask("GET", "/config")
        else:
            answer = self._find(f"/config/{_part(subject)}?defaultToGlobal=true")
            if answer is None:
                return self.compatibility()
        return str(answer.get("compatibilityLevel") or answer.get("compatibility"))

    def set_compatibility(self, level: str, subject: str | None = None) -> None:
        """Set the rule for one subject, or for all that have none of their own."""
        path = "/config" if subject is None else f"/config/{_part(subject)}"
        self._ask("PUT", path, {"compatibility": level})

    def subjects(self) -> list[str]:
        """Return the names under which schemas are registered."""
        return sorted(map(str, self._ask("GET", "/subjects")))

    def versions(self, subject: str) -> list[int]:
        """Return the numbers of a subject's versions; none if it is not known."""
        found = self._find(f"/subjects/{_part(subject)}/versions")
        return sorted(map(int, found or []))

    def version(self, subject: str, number: int) -> Registered:
        """Return one version of a subject."""
        answer = self._ask("GET", f"/subjects/{_part(subject)}/versions/{number}")
        return Registered(int(answer["version"]), int(answer["id"]), _avro(answer))

    def schema_by_id(self, number: int) -> dict[str, Any] | None:
        """Return the schema that an event names by its id; None if there is none."""
        answer = self._find(f"/schemas/ids/{number}")
        return None if answer is None else _avro(answer)

    def id_of(self, subject: str, schema: object) -> int | None:
        """Return the id of a registered schema; None if the registry does not hold it."""
        try:
            return int(self._ask("POST", f"/subjects/{_part(subject)}", _body(schema))["id"])
        except RegistryRefusedError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def register(self, subject: str, schema: object) -> int:
        """Register a schema, or find it registered; return its id."""
        return int(self._ask("POST", f"/subjects/{_part(subject)}/versions", _body(schema))["id"])

    def is_compatible(self, subject: str, schema: object) -> bool:
        """Ask whether the subject's rule would let this schema in as its next version."""
        answer = self._ask(
            "POST", f"/compatibility/subjects/{_part(subject)}/versions", _body(schema)
        )
        return bool(answer["is_compatible"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def _find(self, path: str) -> Any:
        try:
            return self._ask("GET", path)
        except RegistryRefusedError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        try:
            answer = self._client.request(method, f"{self._base}{path}", json=body)
        except httpx.HTTPError as error:
            message = f"The registry at {self._shown} does not answer: {error}"
            raise RegistryAwayError(message, "Is it up? `sluice stack status` tells.") from error
        if answer.is_server_error:
            # It is starting or stopping, or a proxy stands before nothing.
            message = f"The registry at {self._shown} is not well: {answer.status_code}."
            raise RegistryAwayError(message, "Is it up? `sluice stack status` tells.")
        try:
            content = answer.json()
        except ValueError:
            content = None
        # A web server of another kind says 404, too: only the registry's own answers count.
        said = content.get("message") if isinstance(content, dict) else None
        if content is None or (answer.is_error and said is None):
            message = f"What answers at {self._shown} is no registry: {answer.text[:60]!r}"
            raise SluiceError(message, _CHECK_URL)
        if not answer.is_success:
            message = f"The registry at {self._shown} refused {method} {path}: {said}"
            raise RegistryRefusedError(
                message, "`sluice schema check` tells what is wrong with a schema.",
                answer.status_code,
            )
        return content


def _part(subject: str) -> str:
    return quote(subject, safe="")


def _avro(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the schema in an answer; an empty one if it is not a record of Avro."""
    if answer.get("schemaType", "AVRO") != "AVRO":
        return {}
    schema = json.loads(answer["schema"])
    return schema if isinstance(schema, dict) else {}


def _body(schema: object) -> dict[str, str]:
    return {"schema": json.dumps(schema), "schemaType": "AVRO"}


def schema_files(folder: Path = _SCHEMAS, domain: str = "*") -> list[Path]:
    """Return the Avro schemas in git: by domain, the older versions first."""
    files = [path for path in folder.glob(f"{domain}/v*.avsc") if _FILE.fullmatch(path.name)]
    return sorted(files, key=lambda path: (path.parent.name, _version(path)))


def _version(path: Path) -> int:
    return int(path.stem.removeprefix("v"))


def record_name(schema: Mapping[str, Any]) -> str:
    """Return the full name of a record, which is its subject."""
    name = str(schema["name"])
    return name if "." in name else f"{schema['namespace']}.{name}"


def registered_id(registry: RegistryClient, schema: Mapping[str, Any]) -> int:
    """Return the id of a schema that must be registered by now."""
    subject = record_name(schema)
    number = registry.id_of(subject, schema)
    if number is None:
        message = f"The registry does not hold the newest {subject}."
        raise RefusedError(message, "Run `sluice schema register`.")
    return number
