"""What real savepoints and checkpoints are found to hold, and what is said of broken ones."""

import random
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from control.errors import ExitCode
from control.savepoint_metadata import (
    SavepointMetadata,
    SavepointUnreadableError,
    missing_files,
    operator_id,
    read_metadata,
)
from control.stack.context import open_stack
from tests.kit import flink
from tests.kit.kafka import make_topic, read_committed, send
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

# Their state must outgrow 100 kB even compressed, or it would lie in the metadata: no files.
KEYS = 10_000
MAGIC = bytes.fromhex("4960672d")


def _keys() -> list[bytes]:
    dice = random.Random(1)
    return [dice.randbytes(50).hex().encode() for _ in range(KEYS)]


@pytest.fixture(scope="module")
def snapshots(stack: TestStack) -> dict[str, str]:
    """Return the addresses of snapshots of one job: two savepoints and a checkpoint."""
    bootstrap = stack.settings().kafka_bootstrap
    source, target = "numbers-savepoints", "answers-savepoints"
    make_topic(bootstrap, source)
    make_topic(bootstrap, target)
    job = flink.submit(stack, "counting", bootstrap, source, target, flink.connector_jar(stack))
    send(bootstrap, source, _keys())
    assert len(read_committed(bootstrap, target, KEYS)) == KEYS
    found = {form: _savepoint(stack, job, form) for form in ("canonical", "native")}
    # Cancelled, the job leaves its newest checkpoints where they are.
    flink.cancel(stack, job)
    kept = (stack.home / "checkpoints" / job).glob("chk-*/_metadata")
    newest = max(kept, key=lambda path: int(path.parent.name.removeprefix("chk-")))
    return {**found, "checkpoint": str(newest.parent)}


def _savepoint(stack: TestStack, job: str, form: str) -> str:
    path = f"/jobs/{job}/savepoints"
    answer = httpx.post(
        f"{stack.settings().flink_url}{path}", json={"formatType": form.upper()}, timeout=30
    )
    trigger = answer.json()["request-id"]

    def finished() -> dict[str, Any] | None:
        state = flink.get(stack, f"{path}/{trigger}")
        return state if state.get("status", {}).get("id") == "COMPLETED" else None

    operation = wait_until(f"a {form} savepoint", finished, 120)["operation"]
    assert "location" in operation, operation
    return str(operation["location"])


def _read(stack: TestStack, path: str) -> SavepointMetadata:
    return read_metadata(open_stack(stack.settings()).context, path)


@pytest.mark.parametrize(("name", "kind", "form"), [
    ("canonical", "savepoint", "canonical"),
    ("native", "savepoint", "native"),
    ("checkpoint", "checkpoint", None),
])
def test_a_snapshot_says_what_it_holds(
    stack: TestStack, snapshots: dict[str, str], name: str, kind: str, form: str | None
) -> None:
    found = _read(stack, snapshots[name])
    assert (found.kind, found.format) == (kind, form)
    assert found.checkpoint_id > 0
    operators = {one.uid: one for one in found.operators if one.uid is not None}
    assert {"numbers", "count", "answers", "Sink Committer: answers"} <= operators.keys()
    for uid, operator in operators.items():
        assert operator.id == operator_id(uid)
        assert (operator.parallelism, operator.max_parallelism) == (1, 720)
    count, numbers = operators["count"], operators["numbers"]
    # Each key is a hundred characters long; RocksDB may pack them.
    assert count.keyed_bytes > KEYS * 50
    assert count.bytes == count.keyed_bytes + count.operator_bytes
    assert count.subtasks == 1
    assert count.keyed_states is not None
    assert any("count" in state for state in count.keyed_states)
    assert numbers.keyed_bytes == 0
    assert numbers.coordinator_bytes > 0
    assert numbers.operator_states == ("SourceReaderState",)

    assert found.files
    assert missing_files(found) == []
    assert found.size == sum(operator.bytes for operator in found.operators)
    for file in found.files:
        assert file.local is not None
        assert file.local.stat().st_size == file.size


@pytest.mark.parametrize("name", ["canonical", "native"])
def test_a_moved_savepoint_brings_its_files_and_they_are_missed(
    stack: TestStack, snapshots: dict[str, str], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "moved, größer"
    shutil.copytree(snapshots[name].removeprefix("file:"), folder)
    found = _read(stack, str(folder))
    assert _read(stack, str(folder / "_metadata")) == found
    assert found.location == f"file:{folder}"
    assert missing_files(found) == []
    files = [file.local for file in found.files if file.local is not None]
    assert {file.parent for file in files} == {folder}
    assert {file.name for file in files} == {one.name for one in folder.iterdir()} - {"_metadata"}

    largest = max(found.files, key=lambda file: file.size)
    assert largest.local is not None
    largest.local.write_bytes(largest.local.read_bytes()[:-1])
    assert missing_files(found) == [largest.path]
    largest.local.unlink()
    # What stands in the metadata can be read without the files, except names of keyed state.
    again = _read(stack, str(folder))
    assert again.files == found.files
    assert missing_files(again) == [largest.path]


@pytest.mark.parametrize(("content", "reason", "hint"), [
    (None, "the folder has no file _metadata", "Give the folder"),
    (b"some text of somebody", "was not written by Flink", "Give the folder"),
    (b"", "is cut off", "cannot be restored"),
    (MAGIC + b"\0\0\0\x63", "version 99, is unknown", "the Flink that wrote it"),
])
def test_what_is_no_savepoint_is_told(
    stack: TestStack, tmp_path: Path, content: bytes | None, reason: str, hint: str
) -> None:
    if content is not None:
        (tmp_path / "_metadata").write_bytes(content)
    with pytest.raises(SavepointUnreadableError, match=reason) as caught:
        _read(stack, str(tmp_path))
    assert str(tmp_path) in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code is ExitCode.FAILED


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_cut_savepoint_is_told(
    stack: TestStack, snapshots: dict[str, str], tmp_path: Path, share: float
) -> None:
    whole = (Path(snapshots["canonical"].removeprefix("file:")) / "_metadata").read_bytes()
    (tmp_path / "_metadata").write_bytes(whole[:int(len(whole) * share)])
    with pytest.raises(SavepointUnreadableError, match="is cut off"):
        _read(stack, str(tmp_path))


@pytest.mark.parametrize(("path", "reason"), [
    ("/nowhere/at/all", "there is no such file or folder"),
    ("nosuch://somebody:secret@host/savepoint", "there is no file system for such addresses"),
])
def test_an_address_that_leads_nowhere_is_told(stack: TestStack, path: str, reason: str) -> None:
    with pytest.raises(SavepointUnreadableError, match=reason) as caught:
        _read(stack, path)
    assert "secret" not in caught.value.message
