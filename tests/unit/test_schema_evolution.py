"""The rules by which a schema may change: what each lets through and what it refuses."""

from typing import Any

import pytest

from control.schema.evolution import PAIR_RULES, pairs
from control.schema.model import parse
from tests.unit.schema_kit import (
    ENUM,
    MICROS,
    MONEY,
    Schema,
    broken_rules,
    field,
    record,
    resolves,
)

A = field("a")
UUID = {"type": "string", "logicalType": "uuid"}
FIXED = {"type": "fixed", "name": "Hash", "size": 4}


def one(kind: object, **more: object) -> Schema:
    return record(field("a", kind, **more))


def enum(*symbols: str, **more: str) -> Schema:
    return {**ENUM, "symbols": list(symbols), **more}


GOOD: dict[str, tuple[Schema, Schema]] = {
    "nothing": (record(A), record(A)),
    "field with a default": (record(A), record(A, field("b", ["null", "int"], default=None))),
    "field first": (record(A), record(field("b", "int", default=1), A)),
    "field without null, but a default": (record(A), record(A, field("b", ENUM, default="NONE"))),
    "optional field removed": (record(A, field("b", "int", default=1)), record(A)),
    "rename by alias": (record(A), record(field("b", aliases=["a"]))),
    "two renames": (record(A), record(field("c", aliases=["a", "b"]))),
    "a default comes": (one("string"), one("string", default="")),
    "fields in another order": (record(A, field("b")), record(field("b"), A)),
    "int to long": (one("int"), one("long")),
    "int to float": (one("int"), one("float")),
    "int to double": (one("int"), one("double")),
    "long to float": (one("long"), one("float")),
    "long to double": (one("long"), one("double")),
    "float to double": (one("float"), one("double")),
    "string to bytes": (one("string"), one("bytes")),
    "symbol added": (one(enum("NONE", "RED")), one(enum("NONE", "RED", "BLUE"))),
    "symbols in another order": (one(enum("NONE", "RED")), one(enum("RED", "NONE"))),
    "null added": (one("string"), one(["null", "string"])),
    "branch added": (one(["null", "string"]), one(["null", "string", "int"])),
    "branches in another order": (one(["null", "string"]), one(["string", "null"])),
    "branch widened": (one(["null", "int"]), one(["null", "double"])),
    "widened into a union": (one("int"), one(["null", "long"])),
    "items widened": (one({"type": "array", "items": "int"}),
                      one({"type": "array", "items": "long"})),
    "values may be null": (one({"type": "map", "values": "int"}),
                           one({"type": "map", "values": ["null", "int"]})),
    "field in a record within": (
        one(record(A, name="In")), one(record(A, field("b", "int", default=0), name="In")),
    ),
    "decimal unchanged": (one(MONEY), one(dict(MONEY))),
    "wrapped": (one("int"), one({"type": "int"})),
    "full name spelled out": (record(A), {**record(A), "name": "test.Thing"}),
    "the record holds itself": (
        one(["null", "test.Thing"]),
        record(field("a", ["null", "Thing"]), field("b", "int", default=1)),
    ),
}

BAD: dict[str, tuple[str, Schema, Schema]] = {
    "field without a default": ("new_fields_have_defaults", record(A), record(A, field("b"))),
    "required field removed": ("required_fields_stay", record(A, field("b")), record(A)),
    "required field within removed": (
        "required_fields_stay", one(record(A, field("b"), name="In")), one(record(A, name="In")),
    ),
    "in a list's record": (
        "new_fields_have_defaults", one({"type": "array", "items": record(A, name="In")}),
        one({"type": "array", "items": record(A, field("b"), name="In")}),
    ),
    "in a union's record": (
        "new_fields_have_defaults", one(["null", record(A, name="In")]),
        one(["null", record(A, field("b"), name="In")]),
    ),
    "record's name": ("names_never_change", record(A), record(A, name="Other")),
    "namespace": ("names_never_change", record(A), record(A, space="other")),
    "enum's name": ("names_never_change", one(enum("NONE")), one(enum("NONE", name="Other"))),
    "fixed's name": ("names_never_change", one(FIXED), one({**FIXED, "name": "Other"})),
    "name of a record within": (
        "names_never_change", one(record(A, name="In")), one(record(A, name="Out")),
    ),
    "long to int": ("types_only_widen", one("long"), one("int")),
    "double to float": ("types_only_widen", one("double"), one("float")),
    "float to long": ("types_only_widen", one("float"), one("long")),
    "string to int": ("types_only_widen", one("string"), one("int")),
    "bytes to string": ("types_only_widen", one("bytes"), one("string")),
    "string to enum": ("types_only_widen", one("string"), one(ENUM)),
    "enum to string": ("types_only_widen", one(ENUM), one("string")),
    "boolean to int": ("types_only_widen", one("boolean"), one("int")),
    "bytes to fixed": ("types_only_widen", one("bytes"), one(FIXED)),
    "array to map": ("types_only_widen", one({"type": "array", "items": "int"}),
                     one({"type": "map", "values": "int"})),
    "items narrowed": ("types_only_widen", one({"type": "array", "items": "long"}),
                       one({"type": "array", "items": "int"})),
    "after a rename": ("types_only_widen", one("long"), record(field("b", "int", aliases=["a"]))),
    "micros to millis": ("logical_types_never_change", one(MICROS),
                         one({**MICROS, "logicalType": "timestamp-millis"})),
    "logical type gone": ("logical_types_never_change", one(MICROS), one("long")),
    "logical type added": ("logical_types_never_change", one("string"), one(UUID)),
    "decimal to bytes": ("logical_types_never_change", one(MONEY), one("bytes")),
    "uuid to bytes": ("logical_types_never_change", one(UUID), one("bytes")),
    "in a union": ("logical_types_never_change", one(["null", MICROS]), one(["null", "long"])),
    "scale": ("decimals_never_change", one(MONEY), one({**MONEY, "scale": 4})),
    "precision": ("decimals_never_change", one(MONEY), one({**MONEY, "precision": 20})),
    "size": ("fixed_sizes_never_change", one(FIXED), one({**FIXED, "size": 8})),
    "symbol gone": ("enum_symbols_stay", one(enum("NONE", "RED")), one(enum("NONE"))),
    "symbol renamed": ("enum_symbols_stay", one(enum("NONE", "RED")), one(enum("NONE", "ROT"))),
    "branch gone": ("union_branches_stay", one(["null", "string"]), one(["null"])),
    "null gone": ("union_branches_stay", one(["null", "string"]), one("string")),
    "branch narrowed": ("union_branches_stay", one(["null", "long"]), one(["null", "int"])),
    "another record in the union": (
        "union_branches_stay", one(["null", record(A, name="In")]),
        one(["null", record(A, name="Out")]),
    ),
    "two fields into one": ("renames_are_clear", record(A, field("b", default="")),
                            record(field("a", aliases=["b"]))),
    "one field into two": ("renames_are_clear", record(A),
                           record(field("b", aliases=["a"]), field("c", aliases=["a"]))),
    "alias gone": ("aliases_stay", record(field("b", aliases=["a"])), record(field("b"))),
    "alias gone at the next rename": ("aliases_stay", record(field("b", aliases=["a"])),
                                      record(field("c", aliases=["b"]))),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_change_breaks_no_rule_and_resolves(case: str) -> None:
    old, new = GOOD[case]
    assert broken_rules(old, new) == set()
    assert resolves(old, new)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_change_breaks_its_rule_and_no_other(case: str) -> None:
    rule, old, new = BAD[case]
    assert broken_rules(old, new) == {rule}


def test_every_rule_is_tried() -> None:
    assert {rule for rule, _, _ in BAD.values()} == {rule.__name__ for rule in PAIR_RULES}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused_is_explained(case: str) -> None:
    _, old, new = BAD[case]
    said = [problem for pair in pairs(parse(old), parse(new)) for rule in PAIR_RULES
            for problem in rule(pair)]
    assert said
    assert all(problem.message and problem.remedy for problem in said)


@pytest.mark.parametrize(("old", "new", "path"), [
    (record(A), record(A, field("b")), "b"),
    (one(record(A, field("b"), name="In")), one(record(A, name="In")), "a.b"),
    (one({"type": "array", "items": "long"}), one({"type": "array", "items": "int"}), "a[]"),
    (one({"type": "map", "values": record(A, name="In")}),
     one({"type": "map", "values": record(field("a", "int"), name="In")}), "a[].a"),
    (one("long"), record(field("b", "int", aliases=["a"])), "b"),
])
def test_a_problem_names_the_field(old: Schema, new: Schema, path: str) -> None:
    said = [problem.path for pair in pairs(parse(old), parse(new)) for rule in PAIR_RULES
            for problem in rule(pair)]
    assert said == [path]


def test_records_that_hold_each_other_are_compared_once() -> None:
    def tree(kind: str) -> Schema:
        child: dict[str, Any] = {"type": "array", "items": "Thing"}
        return record(field("value", kind), field("children", child))

    assert broken_rules(tree("int"), tree("long")) == set()
    assert broken_rules(tree("long"), tree("int")) == {"types_only_widen"}
