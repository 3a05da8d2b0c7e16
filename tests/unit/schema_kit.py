"""Schemas and registries for the tests of `control/schema`."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any, Self

from control.registry import COMPATIBILITY, Registered, RegistryClient, RegistryRefusedError
from control.schema.evolution import PAIR_RULES, pairs
from control.schema.files import Version
from control.schema.model import parse
from control.schema.samples import every_sample_can_be_read
from control.schema.wellformed import ENVELOPE
from control.settings import PROJECT_ROOT

Schema = dict[str, Any]
SCHEMAS = PROJECT_ROOT / "schemas"

ENUM = {"type": "enum", "name": "Colour", "symbols": ["NONE", "RED"], "default": "NONE"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def field(name: str, kind: object = "string", **more: object) -> Schema:
    return {"name": name, "type": kind, **more}


def record(*fields: Schema, name: str = "Thing", space: str = "test") -> Schema:
    return {"type": "record", "name": name, "namespace": space, "fields": list(fields)}


def event(name: str, *fields: Schema) -> Schema:
    envelope = [
        field(key, kind, **({"default": None} if isinstance(kind, list) else {}))
        for key, kind in ENVELOPE.items()
    ]
    return record(*envelope, *fields, name=name, space="sluice.events")


def version(number: int, schema: Schema) -> Version:
    return Version(number, schema, f"v{number}")


def broken_rules(old: Schema, new: Schema) -> set[str]:
    """Return the names of the rules that a change breaks."""
    return {
        rule.__name__ for pair in pairs(parse(old), parse(new)) for rule in PAIR_RULES
        if list(rule(pair))
    }


def resolves(old: Schema, new: Schema) -> bool:
    return not list(every_sample_can_be_read(version(1, old), version(2, new)))


def copied(target: Path) -> Path:
    """Copy the project's schemas, to add to and to spoil."""
    shutil.copytree(SCHEMAS, target)
    return target


def write(folder: Path, domain: str, number: int, schema: object) -> Path:
    path = folder / domain / f"v{number}.avsc"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return path


def edit(path: Path, **changes: object) -> None:
    """Change a schema's file; `fields` gets further fields."""
    schema = json.loads(path.read_text())
    schema["fields"] += changes.pop("fields", [])
    path.write_text(json.dumps({**schema, **changes}))


class FakeRegistry(RegistryClient):
    """A registry in memory that tells schemas apart as the real one does."""

    def __init__(self, *_: object) -> None:
        self.held: dict[str, list[Registered]] = {}
        self.rules: dict[str | None, str] = {None: COMPATIBILITY}
        self.posted: list[tuple[str, Schema]] = []
        self.refuses: set[str] = set()

    def hold(self, subject: str, *schemas: Schema) -> None:
        for schema in schemas:
            self.register(subject, schema)
        self.posted.clear()

    def compatibility(self, subject: str | None = None) -> str:
        return self.rules.get(subject, self.rules[None])

    def set_compatibility(self, level: str, subject: str | None = None) -> None:
        self.rules[subject] = level

    def subjects(self) -> list[str]:
        return sorted(self.held)

    def versions(self, subject: str) -> list[int]:
        return [entry.version for entry in self.held.get(subject, [])]

    def version(self, subject: str, number: int) -> Registered:
        return next(entry for entry in self.held[subject] if entry.version == number)

    def register(self, subject: str, schema: object) -> int:
        assert isinstance(schema, dict)
        self.posted.append((subject, schema))
        if subject in self.refuses:
            message = "Refused."
            raise RegistryRefusedError(message, "", 409)
        held = self.held.setdefault(subject, [])
        for entry in held:
            if version(1, entry.schema).identity == version(1, schema).identity:
                return entry.id
        number = sum(map(len, self.held.values())) + 101
        held.append(Registered(len(held) + 1, number, copy.deepcopy(schema)))
        return number

    def is_compatible(self, subject: str, schema: object) -> bool:
        return subject not in self.refuses

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
