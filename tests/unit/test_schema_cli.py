"""`sluice schema`: what it prints, its exit codes, and a domain that is added by files alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from control.cli import main
from control.cli import schema as command
from control.registry import RegistryAwayError
from control.settings import load_settings
from tests.unit.schema_kit import (
    SCHEMAS,
    FakeRegistry,
    copied,
    edit,
    event,
    field,
    record,
    write,
)

Output = pytest.CaptureFixture[str]

AWAY = "http://127.0.0.1:1/api"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every command at a copy of the schemas, and at no registry."""
    copy = copied(tmp_path / "schemas")
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_SCHEMAS", str(copy))
    monkeypatch.setenv("SLUICE_REGISTRY_URL", AWAY)
    return copy


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    fake = FakeRegistry()
    monkeypatch.setattr(command, "RegistryClient", lambda _: fake)
    return fake


def run_json(capsys: Output, *arguments: str, code: int = 0) -> Any:
    assert main.run(["schema", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def run_text(capsys: Output, *arguments: str, code: int = 0) -> str:
    assert main.run(["schema", *arguments]) == code
    return capsys.readouterr().out


def test_the_schemas_folder_is_a_setting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().schemas == folder
    monkeypatch.delenv("SLUICE_SCHEMAS")
    assert load_settings().schemas == SCHEMAS
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("SLUICE_SCHEMAS", "schemas")
    assert load_settings().schemas == folder


def test_a_good_check_is_zero_and_says_what_was_done(capsys: Output) -> None:
    said = run_text(capsys, "check", "--offline")
    assert "checked against each other: all is well." in said


def test_a_finding_is_three_and_names_everything(folder: Path, capsys: Output) -> None:
    edit(folder / "user" / "v2.avsc", fields=[field("age", "int")])
    said = run_text(capsys, "check", "--offline", code=3)
    first = said.splitlines()[0]
    assert first == (
        "user v2 against v1: age: the new field has no default (new-fields-have-defaults)"
    )
    assert '  Do: make it optional: "type": ["null", ...], "default": null' in said
    assert said.splitlines()[-1].endswith("checked against each other: 1 finding.")


def test_what_is_wrong_against_several_versions_is_said_once(
    folder: Path, capsys: Output
) -> None:
    edit(folder / "transaction" / "v3.avsc", fields=[field("age", "int")])
    first, _, total = run_text(capsys, "check", "--offline", code=3).splitlines()
    assert first.startswith("transaction v3 against v1 and v2: age: ")
    assert total.endswith("2 findings.")


def test_a_finding_for_a_machine(folder: Path, capsys: Output) -> None:
    edit(folder / "user" / "v2.avsc", name="Person")
    report = run_json(capsys, "check", "user", "--offline", code=3)
    found = next(entry for entry in report["findings"] if entry["rule"] == "names-never-change")
    assert found == {
        "domain": "user", "version": "v2", "against": "v1", "path": "",
        "rule": "names-never-change", "message": "sluice.events.User became sluice.events.Person",
        "remedy": "name it sluice.events.User again",
    }
    assert report["registry"] is False


def test_what_a_schema_says_is_never_markup(folder: Path, capsys: Output) -> None:
    edit(folder / "user" / "v2.avsc", fields=[field("x", "[red]nope[/]")])
    assert "there is no type '[red]nope[/]'" in run_text(capsys, "check", "--offline", code=3)
    write(folder, "note", 1, record(field("a", doc="[/] [red]")))
    assert "[/] [red]" in run_text(capsys, "show", "note")


def test_one_domain_is_checked_alone(folder: Path, capsys: Output) -> None:
    edit(folder / "user" / "v2.avsc", fields=[field("age", "int")])
    assert run_json(capsys, "check", "system", "--offline")["schemas"] == {
        "sluice.events.System": 2}
    assert run_json(capsys, "check", "sluice.events.System", "--offline")["findings"] == []
    run_json(capsys, "check", "user", "--offline", code=3)


def test_a_domain_that_is_not_there_is_misuse(capsys: Output) -> None:
    assert main.run(["schema", "check", "nonsense"]) == 2
    assert "Choose from clean, dead_letter, " in capsys.readouterr().err


def test_a_registry_that_is_away_is_one_line_and_the_check_goes_on(
    folder: Path, capsys: Output
) -> None:
    assert main.run(["schema", "check"]) == 0
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert "The registry at " in line
    assert line.endswith("Only the files were checked.")
    assert "all is well" in printed.out
    edit(folder / "user" / "v2.avsc", fields=[field("age", "int")])
    assert main.run(["schema", "check"]) == 3


def test_a_registry_that_is_demanded_must_be_there(capsys: Output) -> None:
    assert main.run(["schema", "check", "--registry"]) == 1
    assert "does not answer" in capsys.readouterr().err
    assert main.run(["schema", "check", "--registry", "--offline"]) == 2
    assert "say the opposite" in capsys.readouterr().err


def test_offline_asks_nobody(registry: FakeRegistry, capsys: Output) -> None:
    registry.hold("sluice.events.User", record(field("a"), name="User", space="sluice.events"))
    assert run_json(capsys, "check", "--offline")["findings"] == []
    report = run_json(capsys, "check", code=3)
    assert report["registry"] is True
    assert {entry["domain"] for entry in report["findings"]} == {"user"}


def test_a_weak_rule_is_noted(registry: FakeRegistry, capsys: Output) -> None:
    run_text(capsys, "register")
    registry.rules["sluice.events.User"] = "NONE"
    assert main.run(["schema", "check"]) == 0
    assert "holds sluice.events.User to NONE only" in capsys.readouterr().err


def test_register_says_what_was_new_and_repeating_changes_nothing(
    registry: FakeRegistry, capsys: Output
) -> None:
    planned = run_json(capsys, "register", "transaction", "--dry-run")
    assert [entry["version"] for entry in planned["registered"]] == [1, 2, 3]
    assert registry.held == {}
    said = run_text(capsys, "register", "transaction")
    assert "  sluice.events.Transaction v1 registered, id 101\n" in said
    assert said.endswith("3 versions registered.\n")
    assert list(registry.held) == ["sluice.events.Transaction"]
    assert "in step" in run_text(capsys, "register", "transaction")
    assert run_json(capsys, "register", "transaction")["registered"] == []


def test_register_refuses_what_check_refuses(
    registry: FakeRegistry, folder: Path, capsys: Output
) -> None:
    edit(folder / "user" / "v2.avsc", fields=[field("age", "int")])
    said = run_text(capsys, "register", code=3)
    assert "new-fields-have-defaults" in said
    assert "Nothing was registered" in said
    assert registry.held == {}


def test_register_needs_the_registry(capsys: Output) -> None:
    assert main.run(["schema", "register"]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_list_compares(registry: FakeRegistry, folder: Path, capsys: Output) -> None:
    run_text(capsys, "register")
    registry.hold("test.Other", record(field("a"), name="Other"))
    write(folder, "note", 1, record(field("a"), name="Note"))
    edit(folder / "user" / "v2.avsc", fields=[field("more", default="")])
    found = {entry["subject"]: entry for entry in run_json(capsys, "list")}
    transaction = found["sluice.events.Transaction"]
    assert transaction["versions"] == transaction["registered"] == [1, 2, 3]
    assert transaction["state"] == "in step"
    assert transaction["newest_id"] == registry.held["sluice.events.Transaction"][-1].id
    assert found["sluice.events.User"]["state"] == "differs"
    assert found["test.Note"]["state"] == "not registered"
    assert found["test.Note"]["newest_id"] is None
    assert found["test.Other"]["state"] == "only in registry"
    assert found["sluice.events.Clean"]["kind"] == "internal"
    said = run_text(capsys, "list")
    assert "v1-v3" in said
    assert "only in registry" in said


def test_list_without_a_registry_shows_what_is_in_git(capsys: Output) -> None:
    assert main.run(["schema", "list", "--json"]) == 0
    printed = capsys.readouterr()
    assert {entry["state"] for entry in json.loads(printed.out)} == {None}
    assert "What is registered is not known." in printed.err


def test_show_for_a_person(capsys: Output) -> None:
    said = run_text(capsys, "show", "transaction")
    assert said.startswith("sluice.events.Transaction v3: A step of a payment.")
    line = next(line for line in said.splitlines() if line.startswith("channel"))
    assert line.split() == ["channel", "text", "or", "nothing", "null", "v2", "where", "it", "was",
                            "bought:", "web,", "app,", "terminal"]
    assert "v2: field channel added (optional), status gained REFUNDED" in said


def test_show_an_older_version_or_the_history_alone(capsys: Output) -> None:
    said = run_text(capsys, "show", "sluice.events.Transaction", "--version", "1")
    assert "merchant_name" not in said
    assert "v2:" not in said
    said = run_text(capsys, "show", "transaction", "--history")
    assert [line[:3] for line in said.splitlines()] == ["v1:", "v2:", "v3:"]


def test_show_for_a_machine(folder: Path, capsys: Output) -> None:
    shown = run_json(capsys, "show", "user", "--version", "1")
    assert shown["schema"] == json.loads((folder / "user" / "v1.avsc").read_text())
    assert shown["fields"][0] == {
        "name": "event_id", "type": "UUID", "default": "required", "since": "v1",
        "doc": "unique for ever; a second event with the same id is a duplicate",
    }
    assert list(run_json(capsys, "show", "user", "--history")) == ["subject", "version", "history"]


def test_show_what_is_only_in_the_registry(registry: FakeRegistry, capsys: Output) -> None:
    registry.hold("test.Other", record(field("a"), name="Other"))
    assert run_text(capsys, "show", "test.Other").startswith("test.Other registered v1")
    user = event("User", field("x"))
    registry.hold("sluice.events.User", user, event("User"), event("User", field("y")))
    assert run_json(capsys, "show", "user", "--version", "3")["fields"][-1]["name"] == "y"


@pytest.mark.parametrize("arguments", [["nonsense"], ["user", "--version", "9"]])
def test_show_what_is_nowhere(registry: FakeRegistry, arguments: list[str], capsys: Output) -> None:
    assert main.run(["schema", "show", *arguments]) == 2
    assert "neither in git nor in the registry" in capsys.readouterr().err


def test_show_what_is_nowhere_while_the_registry_is_away(capsys: Output) -> None:
    assert main.run(["schema", "show", "nonsense"]) == 2
    assert "not in git, and the registry does not answer" in capsys.readouterr().err


def test_show_what_is_no_avro_says_so(folder: Path, capsys: Output) -> None:
    edit(folder / "user" / "v2.avsc", fields=[field("x", "nope")])
    assert main.run(["schema", "show", "user"]) == 1
    assert "cannot be shown: x: there is no type 'nope'" in capsys.readouterr().err


def test_a_registry_that_goes_away_in_between_is_said(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def gone(*_: object) -> bool:
        message = "The registry went away."
        raise RegistryAwayError(message)

    run_text(capsys, "register")
    monkeypatch.setattr(registry, "is_compatible", gone)
    report = run_json(capsys, "check")
    assert report["registry"] is False
    assert report["notes"] == ["The registry went away. Only the files were checked."]


def test_a_fourth_domain_is_added_by_files_and_one_entry(
    registry: FakeRegistry, folder: Path, capsys: Output
) -> None:
    run_text(capsys, "register")
    write(folder, "order", 1, event("Order", field("total", "int"), field("note")))
    write(folder, "order", 2, event(
        "Order", field("total", "long"), field("remark", aliases=["note"]),
        field("gift", "boolean", default=False),
    ))
    with (folder / "domains.toml").open("a") as file:
        file.write('\n[order]\nrecord = "sluice.events.Order"\nevent_types = ["placed"]\n'
                   'text = ["remark"]\n')
    assert run_json(capsys, "check", "order")["schemas"] == {"sluice.events.Order": 2}
    entry = next(entry for entry in run_json(capsys, "list") if entry["domain"] == "order")
    assert (entry["kind"], entry["state"]) == ("event", "not registered")
    assert len(run_json(capsys, "register")["registered"]) == 2
    assert registry.versions("sluice.events.Order") == [1, 2]
    said = run_text(capsys, "show", "order")
    assert ("v2: field note renamed to remark, field gift added (optional), "
            "total widened from int to long") in said
    assert "in step" in run_text(capsys, "register")


def test_a_folder_may_be_given_on_the_line(tmp_path: Path, capsys: Output) -> None:
    other = tmp_path / "other"
    write(other, "note", 1, record(field("a"), name="Note"))
    assert run_json(capsys, "check", "--offline", "--folder", str(other))["schemas"] == {
        "test.Note": 1}
    assert main.run(["schema", "check", "--folder", str(tmp_path / "nowhere")]) == 2
    assert "--folder or SLUICE_SCHEMAS" in capsys.readouterr().err


def test_help_fits_a_hundred_columns(capsys: Output) -> None:
    for name in ("list", "check", "register", "show"):
        assert main.run(["schema", name, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
