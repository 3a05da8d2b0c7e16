"""The manifest lists what may have been sent, whatever ends the run."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from control.errors import SluiceError
from control.events.manifest import Manifest
from control.events.traffic import Kind, Message, Shares
from tests.unit.event_kit import traffic

MIX = Shares(duplicates=0.1, late=0.1, out_of_order=0.1, invalid=0.2, poison=0.2)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_message_has_its_line_in_the_order_sent(tmp_path: Path) -> None:
    messages = traffic(600, MIX)
    path = tmp_path / "manifest.jsonl"
    with Manifest(path) as manifest:
        for start in range(0, len(messages), 70):
            manifest.write(messages[start:start + 70])
    found = lines(path)
    assert len(found) == len(messages)
    for line, message in zip(found, messages, strict=True):
        assert line["event_id"] == message.event_id
        assert line["kind"] == message.kind.value
        assert line["tenant_id"] == message.tenant_id
        assert line["expect"] == message.kind.expect
        if message.occurred_at is None:
            assert line["occurred_at"] is None
        else:
            assert line["occurred_at"].endswith("Z")
            at = datetime.fromisoformat(line["occurred_at"])
            assert round(at.timestamp() * 1e6) == message.occurred_at
        if message.kind.expect == "dlq":
            assert (line["reason"], line["detail"]) == (message.reason, message.detail)
            assert line["sha256"] == hashlib.sha256(message.value).hexdigest()
        else:
            assert "reason" not in line


def test_lines_are_in_the_file_before_anything_is_sent(tmp_path: Path) -> None:
    with Manifest(tmp_path / "m") as manifest:
        manifest.write(traffic(10))
        # Not closed, not flushed: a killed process leaves exactly this.
        assert len(lines(tmp_path / "m")) == 10


@pytest.mark.parametrize("kept", [0, 1, 7, 10])
def test_what_was_not_sent_is_taken_back(tmp_path: Path, kept: int) -> None:
    messages = traffic(25)
    with Manifest(tmp_path / "m") as manifest:
        manifest.write(messages[:10])
        manifest.write(messages[10:20])
        manifest.keep(kept)
        manifest.write(messages[20:])
    wanted = [*messages[:10 + kept], *messages[20:]]
    assert [line["event_id"] for line in lines(tmp_path / "m")] == [
        message.event_id for message in wanted
    ]


def test_ids_that_are_no_uuid_are_quoted(tmp_path: Path) -> None:
    odd = 'a"b\\c\n€'
    with Manifest(tmp_path / "m") as manifest:
        manifest.write([Message(b"", b"", Kind.INVALID, "user", odd, odd, 0, "bad_uuid", "x")])
    assert lines(tmp_path / "m")[0]["event_id"] == odd


def test_an_older_manifest_is_replaced(tmp_path: Path) -> None:
    for count in (20, 5):
        with Manifest(tmp_path / "m") as manifest:
            manifest.write(traffic(count))
    assert len(lines(tmp_path / "m")) == 5


@pytest.mark.parametrize("path", ["/dev/full", "missing/folder/m"])
def test_a_manifest_that_cannot_be_written_is_one_clear_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(SluiceError, match="cannot be written"), \
            Manifest(tmp_path / path) as manifest:
        manifest.write(traffic(5))
