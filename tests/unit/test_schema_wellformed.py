"""The rules that a version keeps by itself, and what a folder of versions must be."""

from pathlib import Path

import pytest

from control.errors import MisuseError
from control.schema.check import check_files
from control.schema.files import read_families
from control.schema.findings import Finding
from control.schema.model import NotAvroError, parse
from control.schema.wellformed import ENVELOPE, PLACE_RULES, places
from tests.unit.schema_kit import (
    ENUM,
    MICROS,
    MONEY,
    SCHEMAS,
    Schema,
    copied,
    edit,
    event,
    field,
    record,
    resolves,
    version,
    write,
)

GOOD_DEFAULTS: list[tuple[object, object]] = [
    ("string", ""), ("int", 0), ("int", -(2**31)), ("long", 2**63 - 1), ("float", 1),
    ("double", 0.5), ("boolean", False), ("null", None), (["null", "bytes"], None),
    (["string", "null"], "x"), (ENUM, "RED"), ({"type": "array", "items": "int"}, [1, 2]),
    ({"type": "map", "values": "string"}, {}), ({"type": "map", "values": "int"}, {"a": 1}),
    (MICROS, 0), ({"type": "string", "logicalType": "uuid"},
                  "00000000-0000-0000-0000-000000000000"),
    (record(field("x", "int"), name="In"), {"x": 1}), (["null", MONEY], None),
]

BAD_DEFAULTS: list[tuple[object, object]] = [
    ("string", None), ("string", 1), ("int", "0"), ("int", 2**31), ("int", True), ("int", 0.5),
    ("long", 2**63), ("float", "1"), ("double", None), ("boolean", 0), ("null", 0),
    (["null", "string"], "x"), (["string", "null"], None), (ENUM, "PINK"), (ENUM, None),
    ({"type": "array", "items": "int"}, {}), ({"type": "array", "items": "int"}, ["x"]),
    ({"type": "map", "values": "int"}, []), ({"type": "map", "values": "int"}, {"a": "x"}),
    # fastavro would hand text to a reader that expects bytes.
    ("bytes", ""), (MONEY, "\u0000"), ({"type": "fixed", "name": "F", "size": 1}, "x"),
    ({"type": "string", "logicalType": "uuid"}, "no uuid"),
    (record(field("x", "int"), name="In"), {"x": "y"}),
    (record(field("x", "int"), name="In"), {}), (record(field("x", "int"), name="In"), 1),
]


def broken(schema: Schema) -> set[str]:
    return {rule.__name__ for place in places(parse(schema)) for rule in PLACE_RULES
            if list(rule(place))}


@pytest.mark.parametrize(("kind", "default"), GOOD_DEFAULTS)
def test_a_default_of_the_type_fits_and_can_be_filled(kind: object, default: object) -> None:
    schema = record(field("a", "int"), field("b", kind, default=default))
    assert broken(schema) == set()
    assert resolves(record(field("a", "int")), schema)


@pytest.mark.parametrize(("kind", "default"), BAD_DEFAULTS)
def test_a_default_of_another_type_is_refused(kind: object, default: object) -> None:
    assert broken(record(field("b", kind, default=default))) == {"defaults_fit"}


@pytest.mark.parametrize("schema", [
    record(field("a", {**ENUM, "default": "PINK"})),
    record(field("a", {key: ENUM[key] for key in ("type", "name", "symbols")})),
    record(field("a", {"type": "array", "items": {**ENUM, "default": ""}})),
    record(field("a", ["null", {**ENUM, "default": "red"}])),
])
def test_an_enum_needs_a_default_among_its_symbols(schema: Schema) -> None:
    assert broken(schema) == {"enums_have_defaults"}


@pytest.mark.parametrize("fields", [
    (field("a"), field("b", aliases=["a"])),
    (field("a", aliases=["x"]), field("b", aliases=["x"])),
    (field("a", aliases=["a"]),),
    (field("in", record(field("a"), field("b", aliases=["a"]), name="In")),),
])
def test_aliases_that_collide_are_refused(fields: tuple[Schema, ...]) -> None:
    assert broken(record(*fields)) == {"aliases_do_not_collide"}


def test_aliases_that_do_not_collide_are_fine() -> None:
    inner = record(field("a"), name="In")
    assert broken(record(field("b", aliases=["a"]), field("in", inner))) == set()


@pytest.mark.parametrize("kind", [
    ["int", "int"], ["null", ["int", "string"]], [],
    ["string", {"type": "string", "logicalType": "uuid"}],
    [{"type": "array", "items": "int"}, {"type": "array", "items": "string"}],
])
def test_a_union_whose_branches_are_alike_is_refused(kind: object) -> None:
    assert broken(record(field("a", kind))) == {"union_branches_differ"}


@pytest.mark.parametrize(("schema", "path"), [
    (record(field("a", "strng")), "a"),
    (record(field("a"), field("a")), "a"),
    (record(field("a-b")), "a-b"),
    (record({"name": "a"}), "a"),
    (record({"type": "int"}), ""),
    (record(field("a", 7)), "a"),
    (record(field("a", {"type": "array"})), "a"),
    (record(field("a", {"type": "enum", "name": "E"})), "a"),
    (record(field("a", {"type": "enum", "name": "E", "symbols": ["A", "A"]})), "a"),
    (record(field("a", {"type": "enum", "name": "E", "symbols": ["a b"]})), "a"),
    (record(field("a", {"type": "fixed", "name": "F"})), "a"),
    (record(field("a", {"type": "fixed", "name": "F", "size": -1})), "a"),
    (record(field("a", {**MONEY, "scale": 19})), "a"),
    (record(field("a", {"type": "bytes", "logicalType": "decimal"})), "a"),
    (record(field("a", ENUM), field("b", ENUM)), "b"),
    (record(field("a", aliases="b")), "a"),
    (record(field("in", record(field("x", "nope"), name="In"))), "in.x"),
    ({"type": "record", "name": "R", "namespace": "n"}, ""),
])
def test_what_is_not_avro_is_refused_with_its_place(schema: Schema, path: str) -> None:
    with pytest.raises(NotAvroError) as caught:
        parse(schema)
    assert caught.value.path == path
    assert caught.value.message
    assert caught.value.remedy


def findings(folder: Path) -> list[Finding]:
    families = read_families(folder)
    return check_files(families, families)


def rules(folder: Path) -> set[str]:
    return {finding.rule for finding in findings(folder)}


def test_the_project_s_schemas_keep_every_rule() -> None:
    assert findings(SCHEMAS) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(tmp_path / "schemas")


@pytest.mark.parametrize("name", ENVELOPE)
def test_an_event_without_a_field_of_the_envelope_is_refused(folder: Path, name: str) -> None:
    schema = event("Order", field("total", MONEY))
    schema["fields"] = [entry for entry in schema["fields"] if entry["name"] != name]
    write(folder, "order", 1, schema)
    _entry(folder, "order", "sluice.events.Order")
    assert [(found.rule, found.path) for found in findings(folder)] == [("envelope-is-whole", name)]


@pytest.mark.parametrize(("name", "kind"), [
    ("event_id", "string"), ("occurred_at", "long"), ("tenant_id", ["null", "string"]),
    ("occurred_at", {"type": "long", "logicalType": "timestamp-millis"}),
    ("causation_id", ["null", "string"]), ("trace_context", "string"),
])
def test_an_envelope_of_another_type_is_refused(folder: Path, name: str, kind: object) -> None:
    schema = event("Order", field("total", MONEY))
    schema["fields"] = [field(name, kind) if entry["name"] == name else entry
                        for entry in schema["fields"]]
    write(folder, "order", 1, schema)
    _entry(folder, "order", "sluice.events.Order")
    assert [(found.rule, found.path) for found in findings(folder)] == [("envelope-is-whole", name)]


def _entry(folder: Path, domain: str, name: str, more: str = "") -> None:
    with (folder / "domains.toml").open("a") as file:
        file.write(f'\n[{domain}]\nrecord = "{name}"\nevent_types = ["created"]\n{more}\n')


def test_only_events_need_the_envelope(folder: Path) -> None:
    write(folder, "note", 1, record(field("a")))
    assert findings(folder) == []


def test_a_gap_is_refused(folder: Path) -> None:
    (folder / "transaction" / "v2.avsc").unlink()
    found = findings(folder)
    assert [(entry.rule, entry.message) for entry in found] == [
        ("versions-have-no-gaps", "v2 is missing")]


@pytest.mark.parametrize("name", ["v01.avsc", "v0.avsc", "vX.avsc", "2.avsc", "v2b.avsc"])
def test_a_file_with_another_name_is_refused(folder: Path, name: str) -> None:
    (folder / "user" / name).write_text("{}")
    assert [(entry.domain, entry.rule) for entry in findings(folder)] == [
        ("user", "files-can-be-read")]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"int"', '{"type": "record"}',
                                  '{"type": "enum", "name": "E", "namespace": "n"}'])
def test_a_file_that_is_no_record_is_refused(folder: Path, text: str) -> None:
    write(folder, "user", 3, text)
    assert rules(folder) == {"files-can-be-read"}


def test_a_file_that_is_no_avro_is_refused(folder: Path) -> None:
    edit(folder / "user" / "v2.avsc", fields=[field("x", "nope")])
    found = findings(folder)
    assert [(entry.rule, entry.version, entry.path) for entry in found] == [("is-avro", "v2", "x")]


def test_an_entry_without_a_folder_is_refused(folder: Path) -> None:
    _entry(folder, "order", "sluice.events.Order")
    assert [(entry.domain, entry.rule) for entry in findings(folder)] == [
        ("order", "files-can-be-read")]


def test_a_record_with_another_name_than_its_entry_is_refused(folder: Path) -> None:
    write(folder, "order", 1, event("Order"))
    _entry(folder, "order", "sluice.events.Orders")
    assert rules(folder) == {"record-is-the-entrys"}


def test_an_entry_that_names_no_field_is_refused(folder: Path) -> None:
    write(folder, "order", 1, event("Order", field("note")))
    _entry(folder, "order", "sluice.events.Order",
           'text = ["note", "remark"]\nerrors = {status = ["X"]}\ncolumns = {amount = "total"}')
    assert [(entry.rule, entry.path) for entry in findings(folder)] == [
        ("entry-names-fields", name) for name in ("remark", "status", "total")]


def test_one_record_in_two_folders_is_refused(folder: Path) -> None:
    write(folder, "users", 1, (folder / "user" / "v1.avsc").read_text())
    assert sorted((entry.domain, entry.rule) for entry in findings(folder)) == [
        ("user", "one-folder-for-each-record"), ("users", "one-folder-for-each-record")]


@pytest.mark.parametrize("change", [
    {}, {"doc": "other words"}, {"fields": []},
])
def test_a_version_that_brings_nothing_is_refused(folder: Path, change: Schema) -> None:
    write(folder, "user", 3, (folder / "user" / "v2.avsc").read_text())
    edit(folder / "user" / "v3.avsc", **change)
    assert rules(folder) == {"versions-differ"}


def test_what_the_rules_overlook_the_samples_find(folder: Path) -> None:
    small = {"type": "fixed", "name": "F", "size": 1, "logicalType": "decimal", "precision": 9}
    write(folder, "note", 1, record(field("a", small)))
    assert rules(folder) == {"every-sample-can-be-read"}


def test_a_newest_version_is_compared_with_every_earlier_one(folder: Path) -> None:
    write(folder, "note", 1, record(field("a", "int", default=1)))
    write(folder, "note", 2, record(field("b", "int", default=1)))
    write(folder, "note", 3, record(field("a", "string", default="")))
    found = [entry for entry in findings(folder) if entry.rule == "types-only-widen"]
    assert [(entry.version, entry.against, entry.path) for entry in found] == [("v3", "v1", "a")]


def test_a_missing_folder_and_a_broken_toml_are_misuse(folder: Path) -> None:
    with pytest.raises(MisuseError, match="no folder"):
        read_families(folder / "nowhere")
    (folder / "domains.toml").write_text("[user")
    with pytest.raises(MisuseError, match=r"domains\.toml is not valid TOML"):
        read_families(folder)
    (folder / "domains.toml").write_text("user = 1")
    with pytest.raises(MisuseError, match="no table"):
        read_families(folder)


BASE = record(field("a", "int"), field("e", ENUM))


@pytest.mark.parametrize(("other", "same_identity", "same_meaning"), [
    ({**BASE, "doc": "x"}, True, True),
    ({**BASE, "name": "test.Thing"}, True, True),
    (record(field("a", {"type": "int"}), field("e", ENUM)), True, True),
    (record(field("a", "int", doc="x"), field("e", ENUM)), True, True),
    (record(field("a", "int", aliases=["z"]), field("e", ENUM)), True, False),
    (record(field("a", "int"), field("e", {**ENUM, "default": "RED"})), True, False),
    (record(field("a", "int", default=1), field("e", ENUM)), False, False),
    (record(field("e", ENUM), field("a", "int")), False, False),
    (record(field("a", "int"), field("e", {**ENUM, "symbols": ["RED", "NONE"]})), False, False),
    (record(field("a", {"type": "int", "logicalType": "date"}), field("e", ENUM)), False, False),
    (record(field("a", "int"), field("e", {**ENUM, "namespace": "other"})), False, False),
])
def test_which_edits_make_it_another_schema(
    other: Schema, same_identity: bool, same_meaning: bool
) -> None:
    one, two = version(1, BASE), version(2, other)
    assert (one.identity == two.identity) is same_identity
    assert (one.meaning == two.meaning) is same_meaning
