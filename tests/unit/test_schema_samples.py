"""The proof by samples: it sees what a rule would overlook."""

from collections.abc import Callable

import pytest

from control.schema import samples as proof
from control.schema.model import parse
from control.schema.samples import every_sample_can_be_read, samples
from tests.unit.schema_kit import ENUM, MICROS, MONEY, Schema, field, record, version


def said(old: Schema, new: Schema) -> list[str]:
    return [problem.message for problem in
            every_sample_can_be_read(version(1, old), version(2, new))]


def test_samples_take_every_symbol_branch_and_extreme() -> None:
    found = samples(parse(record(
        field("colour", ENUM), field("size", ["null", "long", ENUM["name"]]), field("at", MICROS),
        field("list", {"type": "array", "items": "boolean"}), field("price", MONEY),
    )))
    assert {entry["colour"] for entry in found} == {"NONE", "RED"}
    sizes = [entry["size"] for entry in found]
    assert None in sizes
    assert ("long", -(2**63)) in sizes
    assert ("test.Colour", "RED") in sizes
    assert [False, True] in [entry["list"] for entry in found]
    assert {str(entry["price"]) for entry in found} >= {"9999999999999999.99", "-0.01"}


def test_a_record_that_may_hold_itself_has_samples() -> None:
    tree = record(field("left", ["null", "Thing"]),
                  field("rest", {"type": "array", "items": "Thing"}))
    assert samples(parse(tree))
    assert said(tree, tree) == []


def test_a_record_that_must_hold_itself_is_refused() -> None:
    endless = record(field("again", "Thing"))
    assert said(endless, endless) == ["a record holds itself, so no event of it ever ends"]


@pytest.mark.parametrize(("old", "new"), [
    (record(field("a", "long")), record(field("a", "int"))),
    (record(field("a", "bytes")), record(field("a", "string"))),
    (record(field("a")), record(field("b"))),
    (record(field("a", ["null", "string"])), record(field("a", "string"))),
    (record(field("a")), record(field("a"), field("b", "bytes", default="x"))),
    (record(field("a")), record(field("a"), field("b", "int", default="x"))),
    (record(field("a", {**ENUM, "symbols": ["NONE", "X"]})),
     record(field("a", {"type": "enum", "name": "Colour", "symbols": ["NONE"]}))),
    # It can be read, and is another value.
    (record(field("a", {**ENUM, "symbols": ["NONE", "X"]})), record(field("a", ENUM))),
])
def test_what_cannot_be_read_rightly_is_found_without_any_rule(old: Schema, new: Schema) -> None:
    assert len(said(old, new)) == 1


def test_a_schema_that_only_fastavro_refuses_is_found() -> None:
    small = {"type": "fixed", "name": "F", "size": 2, "logicalType": "decimal", "precision": 9}
    found = said(record(field("a", small)), record(field("a", small)))
    assert len(found) == 1
    assert "fastavro says: v2 cannot be parsed" in found[0]


def test_a_lost_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    never: Callable[[object, object], bool] = lambda *_: False  # noqa: E731
    monkeypatch.setattr(proof, "_agree", never)
    assert said(record(field("a")), record(field("a"))) == ["'' is read as ''"]
