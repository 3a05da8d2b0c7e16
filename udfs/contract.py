"""The contract of events as files: the domains, their schemas, and the canonical record."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True)
class Domain:
    """One domain of events."""

    name: str
    record: str
    event_types: frozenset[str]
    # The oldest version first.
    versions: tuple[Schema, ...]
    text: tuple[str, ...] = ()
    errors: Mapping[str, frozenset[object]] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def newest(self) -> Schema:
        """The version that events are decoded to."""
        return self.versions[-1]


@dataclass(frozen=True)
class Contract:
    """Everything that a job must know of events; it travels inside the job."""

    # By record name.
    domains: Mapping[str, Domain]
    clean: Schema
    dead_letter: Schema
    replay: Schema
    tenant: Schema


def load_contract(folder: Path) -> Contract:
    """Read the contract from a folder of schemas."""
    entries = tomllib.loads((folder / "domains.toml").read_text(encoding="utf-8"))
    domains = {}
    for name, entry in entries.items():
        domains[entry["record"]] = Domain(
            name=name,
            record=entry["record"],
            event_types=frozenset(f"{name}.{action}" for action in entry["event_types"]),
            versions=_versions(folder / name),
            text=tuple(entry.get("text", ())),
            errors={
                column: frozenset(values) for column, values in entry.get("errors", {}).items()
            },
            columns=entry.get("columns", {}),
        )
    return Contract(
        domains=domains,
        clean=_versions(folder / "clean")[-1],
        dead_letter=_versions(folder / "dead_letter")[-1],
        replay=_versions(folder / "replay")[-1],
        tenant=_versions(folder / "tenant")[-1],
    )


def _versions(folder: Path) -> tuple[Schema, ...]:
    files = sorted(folder.glob("v*.avsc"), key=lambda file: int(file.stem.removeprefix("v")))
    return tuple(json.loads(file.read_text(encoding="utf-8")) for file in files)


def full_name(schema: Schema) -> str:
    """Return a record's name with its namespace, which is its subject in the registry."""
    name = str(schema["name"])
    namespace = schema.get("namespace")
    return f"{namespace}.{name}" if namespace and "." not in name else name
