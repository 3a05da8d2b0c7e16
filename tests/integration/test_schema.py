"""`sluice schema` against the real registry."""

import copy
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from control.registry import COMPATIBILITY, RegistryClient, RegistryRefusedError
from control.schema.files import read_families
from tests.kit.stack import TestStack
from tests.unit.schema_kit import (
    ENUM,
    SCHEMAS,
    Schema,
    copied,
    edit,
    event,
    field,
    record,
    version,
    write,
)
from tests.unit.test_schema_random import legal_histories


@pytest.fixture
def registry(stack: TestStack) -> Iterator[RegistryClient]:
    with RegistryClient(stack.settings().registry_url) as client:
        yield client


@pytest.fixture
def domain(tmp_path: Path) -> str:
    """Add a fourth domain of a name of this test's own: two files and one entry."""
    name = f"order{uuid.uuid4().hex[:10]}"
    folder = copied(tmp_path / "schemas")
    write(folder, name, 1, event(name, field("total", "int"), field("note")))
    write(folder, name, 2, event(
        name, field("total", "long"), field("remark", aliases=["note"]),
        field("gift", "boolean", default=False),
    ))
    with (folder / "domains.toml").open("a") as file:
        file.write(f'\n[{name}]\nrecord = "sluice.events.{name}"\nevent_types = ["placed"]\n')
    return name


def run(stack: TestStack, tmp_path: Path, *arguments: str, code: int = 0) -> Any:
    done = stack.run("schema", *arguments, "--json", SLUICE_SCHEMAS=str(tmp_path / "schemas"))
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def rules(report: dict[str, Any]) -> set[str]:
    return {entry["rule"] for entry in report["findings"]}


def test_the_stack_comes_up_with_every_schema_in_step(
    stack: TestStack, registry: RegistryClient
) -> None:
    listed = {entry["subject"]: entry for entry in json.loads(stack.ok("schema", "list", "--json"))}
    for family in read_families(SCHEMAS):
        entry = listed[family.subject]
        assert entry["state"] == "in step"
        assert entry["versions"] == entry["registered"]
        newest = registry.schema_by_id(entry["newest_id"])
        assert newest is not None
        assert version(1, newest).meaning == family.versions[-1].meaning
    assert "all is well" in stack.ok("schema", "check", "--registry")
    assert "in step" in stack.ok("schema", "register")


def test_a_fourth_domain_needs_files_and_one_entry(
    stack: TestStack, tmp_path: Path, domain: str, registry: RegistryClient
) -> None:
    subject = f"sluice.events.{domain}"
    assert run(stack, tmp_path, "check", domain, "--registry")["findings"] == []
    planned = run(stack, tmp_path, "register", "--dry-run")["registered"]
    assert [(entry["subject"], entry["version"]) for entry in planned] == [
        (subject, 1), (subject, 2)]
    assert registry.versions(subject) == []
    done = run(stack, tmp_path, "register")["registered"]
    assert [entry["version"] for entry in done] == [1, 2]
    for entry in done:
        file = tmp_path / "schemas" / domain / f"v{entry['version']}.avsc"
        assert registry.schema_by_id(entry["id"]) == json.loads(file.read_text())
    assert run(stack, tmp_path, "register")["registered"] == []
    assert registry.versions(subject) == [1, 2]
    assert registry.compatibility(subject) == COMPATIBILITY
    listed = {entry["subject"]: entry for entry in run(stack, tmp_path, "list")}
    assert listed[subject]["state"] == "in step"
    # Who does not have the files sees it in the registry.
    elsewhere = {entry["subject"]: entry for entry in json.loads(stack.ok("schema", "list",
                                                                          "--json"))}
    assert elsewhere[subject]["state"] == "only in registry"
    assert "field note renamed to remark" in stack.ok("schema", "show", subject)


def test_an_edit_after_registration_is_refused(
    stack: TestStack, tmp_path: Path, domain: str, registry: RegistryClient
) -> None:
    run(stack, tmp_path, "register", domain)
    edit(tmp_path / "schemas" / domain / "v2.avsc", doc="words may change")
    assert run(stack, tmp_path, "check", domain)["findings"] == []
    edit(tmp_path / "schemas" / domain / "v2.avsc", fields=[field("late", default="")])
    report = run(stack, tmp_path, "check", domain, code=3)
    assert rules(report) == {"registered-versions-stay"}
    assert "field late added" in report["findings"][0]["message"]
    assert run(stack, tmp_path, "check", domain, "--offline")["findings"] == []
    assert run(stack, tmp_path, "register", domain, code=3)["registered"] == []
    assert registry.versions(f"sluice.events.{domain}") == [1, 2]


def test_both_judges_refuse(
    stack: TestStack, tmp_path: Path, domain: str, registry: RegistryClient
) -> None:
    run(stack, tmp_path, "register", domain)
    bad = json.loads((tmp_path / "schemas" / domain / "v2.avsc").read_text())
    bad["fields"].append(field("needed"))
    write(tmp_path / "schemas", domain, 3, bad)
    report = run(stack, tmp_path, "check", domain, code=3)
    assert rules(report) == {"new-fields-have-defaults", "the-registry-accepts-it"}
    assert {entry["against"] for entry in report["findings"]} == {"v1", "v2", ""}
    with pytest.raises(RegistryRefusedError, match="needed"):
        registry.register(f"sluice.events.{domain}", bad)


def test_what_the_registry_lets_through_is_refused_here(
    stack: TestStack, tmp_path: Path, domain: str, registry: RegistryClient
) -> None:
    run(stack, tmp_path, "register", domain)
    bad = json.loads((tmp_path / "schemas" / domain / "v2.avsc").read_text())
    bad["fields"] = [entry for entry in bad["fields"] if entry["name"] != "total"]
    write(tmp_path / "schemas", domain, 3, bad)
    assert registry.is_compatible(f"sluice.events.{domain}", bad)
    assert rules(run(stack, tmp_path, "check", domain, code=3)) == {"required-fields-stay"}


def test_a_weak_rule_is_noted_and_mended(
    stack: TestStack, tmp_path: Path, domain: str, registry: RegistryClient
) -> None:
    subject = f"sluice.events.{domain}"
    registry.set_compatibility("NONE")
    try:
        run(stack, tmp_path, "register", domain)
        assert registry.compatibility(subject) == COMPATIBILITY
    finally:
        registry.set_compatibility(COMPATIBILITY)
    registry.set_compatibility("NONE", subject)
    report = run(stack, tmp_path, "check", domain)
    assert f"holds {subject} to NONE only" in report["notes"][0]
    run(stack, tmp_path, "register", domain)
    assert registry.compatibility(subject) == COMPATIBILITY
    assert run(stack, tmp_path, "check", domain)["notes"] == []


BASE = record(field("a", "int"), field("e", ENUM), field("d", "int", default=1))


@pytest.mark.parametrize("change", [
    {"fields": BASE["fields"], "doc": "x"},
    {"fields": [field("a", "int", doc="x"), *BASE["fields"][1:]]},
    {"fields": [field("a", "int", aliases=["z"]), *BASE["fields"][1:]]},
    {"fields": [field("a", {"type": "int"}), *BASE["fields"][1:]]},
    {"fields": [field("a", "int", extra="x"), *BASE["fields"][1:]]},
    {"fields": [field("a", {"type": "int", "logicalType": "date"}), *BASE["fields"][1:]]},
    {"fields": [*BASE["fields"][:2], field("d", "int", default=2)]},
    {"fields": [BASE["fields"][0], field("e", {**ENUM, "default": "RED"}), BASE["fields"][2]]},
    {"fields": [BASE["fields"][0], field("e", {**ENUM, "symbols": ["RED", "NONE"]}),
                BASE["fields"][2]]},
    {"fields": BASE["fields"][::-1]},
    {"name": "test.Thing"},
])
def test_the_registry_tells_schemas_apart_as_we_do(
    registry: RegistryClient, change: dict[str, Any]
) -> None:
    subject = f"test.{uuid.uuid4().hex}"
    registry.set_compatibility("NONE", subject)
    other = {**copy.deepcopy(BASE), **change}
    same = version(1, BASE).identity == version(2, other).identity
    assert (registry.register(subject, BASE) == registry.register(subject, other)) is same
    assert len(registry.versions(subject)) == (1 if same else 2)


@settings(max_examples=25, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(versions=legal_histories())
def test_the_registry_takes_what_the_rules_allow(
    registry: RegistryClient, versions: list[Schema]
) -> None:
    subject = f"test.{uuid.uuid4().hex}"
    registry.set_compatibility(COMPATIBILITY, subject)
    for schema in versions:
        registry.register(subject, schema)


def test_the_doctor_finds_a_version_that_is_not_registered(
    stack: TestStack, registry: RegistryClient
) -> None:
    def finding() -> dict[str, str]:
        entries = json.loads(stack.run("doctor", "--json").stdout)
        return next(dict(entry) for entry in entries if entry["check"] == "schemas")

    assert finding()["verdict"] == "ok"
    url = stack.settings().registry_url.get_secret_value()
    subject = "sluice.reference.Tenant"
    httpx.delete(f"{url}/subjects/{subject}", timeout=10).raise_for_status()
    found = finding()
    assert found["verdict"] == "failed"
    assert found["detail"] == f"not registered: {subject} v1"
    assert found["remedy"] == "sluice schema register"
    stack.ok("schema", "register")
    assert finding()["verdict"] == "ok"
