"""Schemas in words: the table of fields and the history."""

import pytest

from control.schema.files import read_families
from control.schema.model import parse
from control.schema.words import changes, history, rows, type_in_words
from tests.unit.schema_kit import ENUM, MICROS, MONEY, SCHEMAS, Schema, field, record, version


@pytest.mark.parametrize(("kind", "words"), [
    ("string", "text"), ("int", "whole number, 32 bits"), ("double", "number, 64 bits"),
    ({"type": "string", "logicalType": "uuid"}, "UUID"), (MICROS, "time, UTC, \u00b5s"),
    (MONEY, "decimal(18, 2)"), (["null", "string"], "text or nothing"),
    (["string", "null", "boolean"], "text or true or false or nothing"),
    (ENUM, "one of NONE, RED"), ({"type": "fixed", "name": "F", "size": 4}, "4 bytes"),
    ({"type": "array", "items": MONEY}, "list of decimal(18, 2)"),
    ({"type": "map", "values": "int"}, "map of text to whole number, 32 bits"),
    (record(name="In"), "In"), ({"type": "int", "logicalType": "unheard-of"},
                                "whole number, 32 bits"),
])
def test_types_in_words(kind: object, words: str) -> None:
    found = parse(record(field("a", kind))).fields[0].type
    assert type_in_words(found) == words


def colours(*symbols: str) -> Schema:
    return record(field("a", {**ENUM, "symbols": list(symbols)}))


@pytest.mark.parametrize(("old", "new", "said"), [
    (record(), record(field("a", default="")), ["field a added (optional)"]),
    (record(), record(field("a")), ["field a added (required)"]),
    (record(field("a")), record(), ["field a removed"]),
    (record(field("a")), record(field("b", aliases=["a"])), ["field a renamed to b"]),
    (record(field("a", "int", default=0)), record(field("a", "double", default=0.0)),
     ["a widened from int to double"]),
    (record(field("a", "long")), record(field("a", "int")), ["a changed from long to int"]),
    (record(field("a", "int", default=0)), record(field("a", "int", default=1)),
     ["default of a is 1, was 0"]),
    (record(field("a", "int")), record(field("a", "int", default=1)),
     ["default of a is 1, was required"]),
    (colours("NONE", "RED"), colours("NONE", "BLUE"), ["a gained BLUE", "a lost RED"]),
    (record(field("a")), record(field("a", ["null", "string"])), ["a may be absent"]),
    (record(field("a", ["null", "string"])), record(field("a", ["null", "string", "int"])),
     ["a may be whole number, 32 bits, too"]),
    (record(field("a", ["null", "string"])), record(field("a", "string")),
     ["a may no longer be nothing"]),
    (record(field("a", MONEY)), record(field("a", {**MONEY, "scale": 4})),
     ["a is decimal(18, 4), was decimal(18, 2)"]),
    (record(field("a", record(name="In"))),
     record(field("a", record(field("b", "int", default=1), name="In"))),
     ["field a.b added (optional)"]),
    (record(), record(name="Other"), ["the record is called test.Other, was test.Thing"]),
    (record(field("a", doc="x")), record(field("a", doc="y")), []),
])
def test_changes_in_words(old: Schema, new: Schema, said: list[str]) -> None:
    assert changes(parse(old), parse(new)) == said


def test_the_history_of_transaction() -> None:
    transaction = next(each for each in read_families(SCHEMAS) if each.domain == "transaction")
    told = dict(history(transaction.versions))
    assert told["v1"] == f"{len(transaction.versions[0].shape.fields)} fields"
    assert told["v2"] == "field channel added (optional), status gained REFUNDED"
    assert "field merchant renamed to merchant_name" in told["v3"]
    assert "risk widened from int to double" in told["v3"]


def test_a_version_of_new_docs_alone_is_told_so() -> None:
    same = record(field("a"))
    assert history([version(1, same), version(2, {**same, "doc": "x"})])[1] == (
        "v2", "nothing but docs, aliases or order")


def test_rows_tell_since_when_a_field_is_there() -> None:
    found = rows([
        version(1, record(field("a"), field("gone", default=""))),
        version(2, record(field("a"), field("b", "int", default=1, doc="new"))),
        version(3, record(field("c", "int", aliases=["b"], default=1), field("a"),
                          field("d", ["null", "string"], default=None))),
    ])
    assert [(row.name, row.default, row.since) for row in found] == [
        ("c", "1", "v2"), ("a", "required", "v1"), ("d", "null", "v3")]


def test_rows_look_into_records() -> None:
    inner = record(field("x"), name="In")
    wider = record(field("x"), field("y", default=""), name="In")
    found = rows([
        version(1, record(field("list", {"type": "array", "items": inner}))),
        version(2, record(field("list", {"type": "array", "items": wider}))),
    ])
    assert [(row.name, row.since) for row in found] == [
        ("list", "v1"), ("list.x", "v1"), ("list.y", "v2")]


def test_rows_of_a_record_that_holds_itself_end() -> None:
    found = rows([version(1, record(field("next", ["null", "Thing"])))])
    assert [row.name for row in found] == ["next", "next.next"]
