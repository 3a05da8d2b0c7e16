"""The schemas in git: a folder for each record, a file for each version, domains.toml beside."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from control.errors import MisuseError
from control.registry import record_name, schema_files
from control.schema.model import Shape, parse

# What of a type tells nobody how to read its bytes. The registry looks at none of it either:
# it answers a schema that differs in these alone with the id of the one it has.
_DOC = frozenset({"doc"})
_UNSEEN_BY_THE_REGISTRY = frozenset({"doc", "aliases"})


@dataclass(frozen=True)
class Version:
    """One version of a record, from a file or from the registry."""

    number: int
    schema: Mapping[str, Any]
    label: str

    @cached_property
    def shape(self) -> Shape:
        """The schema as typed parts; raises NotAvroError."""
        return parse(self.schema)

    @cached_property
    def identity(self) -> str:
        """What the registry tells schemas apart by."""
        return _canonical(self.schema, _UNSEEN_BY_THE_REGISTRY, enum_default=False)

    @cached_property
    def meaning(self) -> str:
        """Everything that changes what a reader gets: all but the words for people."""
        return _canonical(self.schema, _DOC, enum_default=True)


@dataclass(frozen=True)
class Family:
    """All versions of one record, and its entry in domains.toml if its events are sent."""

    domain: str
    versions: tuple[Version, ...]
    entry: Mapping[str, Any] | None = None
    # File or entry, and what is wrong with it.
    problems: tuple[tuple[str, str], ...] = field(default=())

    @property
    def is_event(self) -> bool:
        """Whether services send it: it must carry the envelope then."""
        return self.entry is not None

    @property
    def subject(self) -> str:
        """The full name of the record, which is the subject in the registry."""
        if self.versions:
            return record_name(self.versions[-1].schema)
        return str((self.entry or {}).get("record", ""))


def read_families(folder: Path) -> list[Family]:
    """Read every schema of a folder; what cannot be read becomes a family's problem."""
    if not folder.is_dir():
        message = f"There is no folder {folder} with schemas."
        raise MisuseError(message, "Check --folder or SLUICE_SCHEMAS.")
    entries = _read_entries(folder / "domains.toml")
    names = {path.parent.name for path in folder.glob("*/*.avsc")} | set(entries)
    return [_read_family(folder / name, entries.get(name)) for name in sorted(names)]


def choose(families: Sequence[Family], name: str | None) -> list[Family]:
    """Return all families, or the one of this domain or subject."""
    if name is None:
        return list(families)
    found = [family for family in families if name in {family.domain, family.subject}]
    if not found:
        message = f"There is no schema {name!r}."
        raise MisuseError(message, f"Choose from {', '.join(f.domain for f in families)}.")
    return found


def _read_entries(file: Path) -> dict[str, Mapping[str, Any]]:
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        message = f"{file} is not valid TOML: {error}."
        raise MisuseError(message, "Mend the file; each table in it is a domain.") from error
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            message = f"{name} in {file} is no table."
            raise MisuseError(message, f"Write [{name}] with what belongs to it below.")
    return entries


def _read_family(folder: Path, entry: Mapping[str, Any] | None) -> Family:
    known = schema_files(folder.parent, folder.name)
    problems = [
        (path.name, "the name is not v1.avsc, v2.avsc, ...")
        for path in sorted(folder.glob("*.avsc")) if path not in known
    ]
    versions = []
    for path in known:
        try:
            schema = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            problems.append((path.name, f"it is not valid JSON: {error}"))
            continue
        if not _is_record(schema):
            problems.append((path.name, "it holds no record with a name, a namespace and fields"))
            continue
        number = int(path.stem.removeprefix("v"))
        versions.append(Version(number, schema, f"v{number}"))
    if not known:
        problems.append((folder.name, "the folder holds no version"))
    return Family(folder.name, tuple(versions), entry, tuple(problems))


def _is_record(schema: object) -> bool:
    return (
        isinstance(schema, dict) and schema.get("type") == "record"
        and isinstance(schema.get("fields"), list)
        and isinstance(schema.get("name"), str)
        and ("." in schema["name"] or isinstance(schema.get("namespace"), str))
    )


def same_names(families: Iterable[Family]) -> dict[str, list[str]]:
    """Return the subjects that more than one folder claims, with those folders."""
    claimed: dict[str, list[str]] = {}
    for family in families:
        if family.subject:
            claimed.setdefault(family.subject, []).append(family.domain)
    return {subject: folders for subject, folders in claimed.items() if len(folders) > 1}


_FULL = re.compile(r"(?P<space>.+)\.(?P<name>[^.]+)")


def _canonical(schema: object, without: frozenset[str], *, enum_default: bool) -> str:
    """Write a schema so that two that differ in nothing else are the same text."""

    def tidy(part: object, namespace: str, *, is_field: bool = False) -> object:
        if isinstance(part, str):
            return part.removeprefix(f"{namespace}.") if namespace else part
        if isinstance(part, list):
            return [tidy(entry, namespace) for entry in part]
        if not isinstance(part, dict):
            return part
        kept = {key: value for key, value in part.items() if key not in without}
        if not is_field and isinstance(kept.get("type"), dict | list):
            # {"type": {"type": "int"}} is {"type": "int"}.
            return tidy(kept["type"], namespace)
        if not is_field and set(kept) == {"type"}:
            return tidy(kept["type"], namespace)
        if not is_field and "name" in kept:
            full = _FULL.fullmatch(str(kept["name"]))
            own = full["space"] if full else str(kept.get("namespace", namespace))
            kept["name"] = full["name"] if full else kept["name"]
            kept.pop("namespace", None)
            if own != namespace:
                kept["namespace"] = own
            namespace = own
            if kept.get("type") == "enum" and not enum_default:
                kept.pop("default", None)
        for key in ("type", "items", "values"):
            if key in kept:
                kept[key] = tidy(kept[key], namespace)
        if isinstance(kept.get("fields"), list):
            kept["fields"] = [tidy(entry, namespace, is_field=True) for entry in kept["fields"]]
        return kept

    return json.dumps(tidy(schema, ""), sort_keys=True)
