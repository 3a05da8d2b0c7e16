"""What the reader's document becomes, which files are missed, and Flink's operator ids."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control.savepoint_metadata import (
    OperatorState,
    SavepointMetadata,
    StateFile,
    missing_files,
    operator_id,
    parse_metadata,
)

KINDS = {
    "managed_keyed": 1000, "raw_keyed": 200, "managed_operator": 30, "raw_operator": 4,
    "coordinator": 500, "in_flight": 60,
}
OPERATOR: dict[str, Any] = {
    "id": "b71731f1c0df9c3076c4a455334d0ad6", "uid": "count", "name": "KEYED PROCESS",
    "parallelism": 2, "max_parallelism": 720, "subtasks": 1, "bytes": 1794, "kinds": KINDS,
    "keyed_states": ["count"], "operator_states": ["offsets"],
}
DOCUMENT: dict[str, Any] = {
    "location": "file:/savepoints/savepoint-1", "checkpoint_id": 7, "version": 6,
    "properties": {"kind": "savepoint", "format": "canonical"},
    "operators": [
        OPERATOR,
        {**OPERATOR, "id": "0" * 32, "uid": None, "name": "a map", "keyed_states": None},
    ],
    "files": [{"path": "file:/savepoints/savepoint-1/one", "size": 1200}],
    "inline_bytes": 594,
}


def test_a_document_becomes_values() -> None:
    found = parse_metadata(DOCUMENT)
    assert found == SavepointMetadata(
        checkpoint_id=7, operators=found.operators,
        files=(StateFile("file:/savepoints/savepoint-1/one", 1200),), inline_bytes=594,
        location="file:/savepoints/savepoint-1", version=6, kind="savepoint", format="canonical",
    )
    assert found.size == 1794
    nameless, count = found.operators
    assert count == OperatorState(
        id=operator_id("count"), uid="count", name="KEYED PROCESS", parallelism=2,
        max_parallelism=720, subtasks=1, bytes=1794, keyed_bytes=1200, operator_bytes=34,
        coordinator_bytes=500, in_flight_bytes=60, keyed_states=("count",),
        operator_states=("offsets",),
    )
    assert nameless.keyed_states is None
    assert [nameless.label, count.label] == ["a map", "count"]
    assert replace(nameless, name=None).label == "0" * 32


def test_an_old_format_does_not_say_what_it_is() -> None:
    found = parse_metadata({**DOCUMENT, "version": 3, "properties": {}})
    assert (found.kind, found.format) == (None, None)


def _metadata(*files: StateFile) -> SavepointMetadata:
    return SavepointMetadata(1, (), files, 0)


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}"])
def test_a_local_file_must_be_there_and_long_enough(tmp_path: Path, form: str) -> None:
    whole, cut, longer = (tmp_path / name for name in ("whole", "cut", "longer"))
    for path, size in [(whole, 100), (cut, 99), (longer, 101)]:
        path.write_bytes(bytes(size))
    files = [StateFile(form.format(path), 100) for path in (whole, cut, longer, tmp_path / "no")]
    assert missing_files(_metadata(*files)) == [files[1].path, files[3].path]
    assert files[0].fault is files[2].fault is None
    assert files[1].fault == f"{files[1].path}: 99 of 100 bytes are there"
    assert files[3].fault == f"{files[3].path}: No such file or directory"


def test_a_name_is_taken_as_flink_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "100%25 größer: a name"
    path.write_bytes(b"x")
    for form in ("{}", "file:{}"):
        file = StateFile(form.format(path), 1)
        assert file.local == path
        assert missing_files(_metadata(file)) == []


def test_nobody_looks_for_files_elsewhere() -> None:
    file = StateFile("s3://bucket/savepoint/one", 100)
    assert file.local is None
    assert missing_files(_metadata(file)) == []


# From StreamGraphHasherV2.generateUserSpecifiedHash of Flink 2.2.1, for each way a block can end.
@pytest.mark.parametrize(("uid", "expected"), [
    ("", "00000000000000000000000000000000"),
    ("a", "897859f6655555855a890e51483ab5e6"),
    ("count", "b71731f1c0df9c3076c4a455334d0ad6"),
    ("events-raw", "2cdb8be49373cdd5d3580ec20b1e571c"),
    ("fifteen-bytes--", "9ac834aa1e4ab587b7072ad285e5e79f"),
    ("exactly-16-bytes", "ab167aa51acea90f1d89af28029d8076"),
    ("seventeen-bytes--", "6de3e4454246253617ca4cb83afe478d"),
    ("Sink Committer: answers", "6253057f186d218d4a80773085028097"),
    ("a uid of a good thirty-two bytes", "a26f3a86fe189083065c94c975fd93df"),
    ("Zähler für Größen", "939bd679122de55246bcab71631c8256"),
    ("計数", "e9c12674473c54718cabb4ec19ce27ef"),
    ("😀 done", "491cf2f99d932385879e27fd194b287f"),
])
def test_an_operator_id_is_the_one_that_flink_makes_of_a_uid(uid: str, expected: str) -> None:
    assert operator_id(uid) == expected
