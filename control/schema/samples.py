"""Proof by doing: write with one version, read with another, as a producer and a reader would."""

import io
import math
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
from fastavro.validation import validate

from control.schema.evolution import counterpart
from control.schema.files import Version
from control.schema.findings import Problem
from control.schema.model import Shape

# A schema may hold itself; below this depth a sample takes the shortest way out.
_DEPTH = 6
_LARGEST_FLOAT = 3.4028234663852886e38
# A float keeps 24 bits of a number.
_FLOAT_ERROR = 2**-23

_PLAIN: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [False, True],
    "int": [0, 1, -1, 2**31 - 1, -(2**31)],
    "long": [0, 1, -1, 2**63 - 1, -(2**63)],
    "float": [0.0, 1.5, -1.5, _LARGEST_FLOAT, -_LARGEST_FLOAT],
    "double": [0.0, 1.5, -1.5, 1.7e308, -1.7e308],
    "bytes": [b"", b"\x00\xff", b"text"],
    "string": ["", "text", "\u00fc\u4e2d\U0001f600 \x00"],
}
_LOGICAL: dict[tuple[str, str], list[Any]] = {
    ("string", "uuid"): [uuid.UUID(int=0), uuid.UUID("2f1c1e5e-8a6b-4c8f-9d5a-0a1b2c3d4e5f")],
    ("int", "date"): [date(1970, 1, 1), date(2028, 2, 29)],
    ("int", "time-millis"): [time(0), time(23, 59, 59, 999_000)],
    ("long", "time-micros"): [time(0), time(23, 59, 59, 999_999)],
    ("long", "timestamp-millis"): [datetime(1970, 1, 1, tzinfo=UTC),
                                   datetime(2028, 2, 29, 1, 2, 3, 4000, UTC)],
    ("long", "timestamp-micros"): [datetime(1969, 12, 31, tzinfo=UTC),
                                   datetime(2028, 2, 29, 1, 2, 3, 4, UTC)],
    ("long", "local-timestamp-millis"): [0, 1_700_000_000_000],
    ("long", "local-timestamp-micros"): [0, 1_700_000_000_000_000],
}


def samples(shape: Shape, depth: int = 0) -> list[Any]:  # noqa: PLR0911 - one for each kind
    """Return values of a type: among them each of its symbols, branches and extremes."""
    if shape.kind == "union":
        return _of_union(shape, depth)
    if shape.kind == "record":
        return _of_record(shape, depth)
    if shape.kind in {"array", "map"} and shape.inner is not None:
        inner = samples(shape.inner, depth + 1) if depth < _DEPTH else []
        if shape.kind == "array":
            return [[], inner]
        return [{}, {f"key{number}": value for number, value in enumerate(inner)}]
    if shape.kind == "enum":
        return list(shape.symbols)
    if shape.logical == "decimal":
        top = 10**shape.precision - 1
        return [Decimal((number < 0, tuple(map(int, str(abs(number)))), -shape.scale))
                for number in (0, 1, -1, top, -top)]
    if shape.kind == "fixed":
        return [b"\x00" * shape.size, b"\xff" * shape.size]
    return _LOGICAL.get((shape.kind, shape.logical)) or _PLAIN[shape.kind]


def _of_union(shape: Shape, depth: int) -> list[Any]:
    # The pair says which branch is meant: a float would otherwise do for a double.
    found = [
        None if branch.kind == "null" else (branch.label, value)
        for branch in shape.branches
        for value in (samples(branch, depth + 1) if depth < _DEPTH or branch.kind == "null"
                      else [])
    ]
    return found or [None]


def _of_record(shape: Shape, depth: int) -> list[Any]:
    choices = {field.name: samples(field.type, depth + 1) for field in shape.fields}
    count = max(map(len, choices.values()), default=1)
    return [
        {name: values[turn % len(values)] for name, values in choices.items()}
        for turn in range(count)
    ]


def every_sample_can_be_read(old: Version, new: Version) -> Iterator[Problem]:
    """Write samples with the older version and read them with the newer, defaults filled."""
    try:
        written, wanted = (fastavro.parse_schema(dict(each.schema)) for each in (old, new))
    except Exception as error:  # noqa: BLE001 - fastavro says no in many ways
        yield _problem(new, error, "cannot be parsed")
        return
    try:
        for sample in samples(old.shape):
            out = io.BytesIO()
            fastavro.schemaless_writer(out, written, sample)
            before = _read(out, written, written)
            after = _read(out, written, wanted)
            validate(after, wanted)
            lost = _lost(old.shape, new.shape, before, after)
            if lost:
                yield lost
                return
    except RecursionError:
        yield Problem("", "a record holds itself, so no event of it ever ends",
                      "make the field that leads back optional")
    except Exception as error:  # noqa: BLE001 - fastavro says no in many ways
        yield _problem(new, error, f"cannot read a sample of {old.label}")


def _lost(old: Shape, new: Shape, before: Any, after: Any) -> Problem | None:
    for field in new.fields:
        was = counterpart(field, old)
        if was and not _agree(before[was.name], after[field.name]):
            return Problem(
                field.name, f"{before[was.name]!r:.40} is read as {after[field.name]!r:.40}",
                "undo the change, and add a new field with a default",
            )
    return None


def _read(out: io.BytesIO, written: Any, wanted: Any) -> Any:
    out.seek(0)
    return fastavro.schemaless_reader(out, written, wanted)


def _problem(version: Version, error: Exception, what: str) -> Problem:
    said = " ".join(str(error).split())
    return Problem("", f"fastavro says: {version.label} {what}: {said:.200}",
                   "undo the last change; no rule knows it as wrong, but readers fail")


def _agree(before: Any, after: Any) -> bool:
    """Tell whether two values are the same, a widened number or text included."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(_agree(before[key], after[key]) for key in before.keys() & after.keys())
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_agree, before, after))
    if isinstance(before, str) and isinstance(after, bytes):
        return before.encode() == after
    if isinstance(before, int | float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=_FLOAT_ERROR)
    return bool(before == after)
