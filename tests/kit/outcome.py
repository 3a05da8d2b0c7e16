"""What came out of `ingest`, compared with the manifest of what was sent."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from kafka import KafkaConsumer, TopicPartition

from control.settings import PROJECT_ROOT

CLEAN, LETTERS = "events.clean", "events.dlq"
_SCHEMAS = {
    CLEAN: PROJECT_ROOT / "schemas" / "clean" / "v1.avsc",
    LETTERS: PROJECT_ROOT / "schemas" / "dead_letter" / "v1.avsc",
}
# One more, doubled, would come with one of the next checkpoints.
_GRACE_SECONDS = 6


def decode(topic: str, value: bytes) -> dict[str, Any]:
    """Decode a message of one of ingest's two topics, times and amounts as Python has them."""
    schema = fastavro.parse_schema(json.loads(_SCHEMAS[topic].read_text(encoding="utf-8")))
    record: dict[str, Any] = fastavro.schemaless_reader(BytesIO(value[5:]), schema, None)
    return record


@dataclass
class Manifest:
    """What was sent, as `events produce --manifest` wrote it down."""

    lines: list[dict[str, Any]]

    @classmethod
    def read(cls, *files: Path) -> "Manifest":
        """Read one or several manifests."""
        return cls([
            json.loads(line) for file in files
            for line in file.read_text(encoding="utf-8").splitlines()
        ])

    @property
    def clean(self) -> set[str]:
        """The ids that must come out clean, each once."""
        return {line["event_id"] for line in self.lines if line["expect"] == "clean"}

    @property
    def refused(self) -> Counter[tuple[str, str]]:
        """The dead letters that there must be: reason and digest of the original bytes."""
        return Counter(
            (line["reason"], line["sha256"]) for line in self.lines if line["expect"] == "dlq"
        )


@dataclass
class Outcome:
    """What is committed in the two topics."""

    clean: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    events: list[bytes] = field(default_factory=list)
    letters: list[dict[str, Any]] = field(default_factory=list)


class Outlet:
    """Reads what ingest commits from now on."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        consumer = self._consumer()
        self._begin = {
            part: offset for topic in (CLEAN, LETTERS) for part, offset in
            consumer.end_offsets(_partitions(consumer, topic)).items()
        }
        consumer.close()

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self._bootstrap, isolation_level="read_committed", group_id=None,
            enable_auto_commit=False, max_partition_fetch_bytes=4 * 2**20,
        )

    def read(self, enough: Callable[[Outcome], bool], seconds: float = 120) -> Outcome:
        """Read until it is enough, and a moment longer."""
        outcome = Outcome()
        consumer = self._consumer()
        consumer.assign(list(self._begin))
        for part, offset in self._begin.items():
            consumer.seek(part, offset)
        deadline = time.monotonic() + seconds
        end = None
        try:
            while time.monotonic() < (end or deadline):
                for part, records in consumer.poll(timeout_ms=500).items():
                    for record in records:
                        _take(outcome, part.topic, record.value)
                if end is None and enough(outcome):
                    end = time.monotonic() + _GRACE_SECONDS
        finally:
            consumer.close()
        return outcome

    def _open(self) -> str:
        """Say how much is written, but in transactions that are still open."""
        ends = []
        for isolation in ("read_committed", "read_uncommitted"):
            consumer = KafkaConsumer(
                bootstrap_servers=self._bootstrap, isolation_level=isolation, group_id=None
            )
            ends.append(consumer.end_offsets(list(self._begin)))
            consumer.close()
        return ", ".join(
            f"{part.topic}-{part.partition}: {ends[1][part] - ends[0][part]} open"
            for part in self._begin if ends[1][part] > ends[0][part]
        ) or "no transaction is open"

    def check(self, manifest: Manifest, seconds: float = 120) -> Outcome:
        """Compare what came out with a manifest: exactly its valid ids, exactly its refused."""
        expected, refused = manifest.clean, manifest.refused
        outcome = self.read(
            lambda found: len(found.events) >= len(expected)
            and len(found.letters) >= refused.total(), seconds,
        )
        got = set(outcome.clean)
        assert got == expected, (
            f"{len(expected - got)} lost, {len(got - expected)} that were never sent;"
            f" {len(outcome.events)} of {len(expected)} came out; {self._open()}"
        )
        doubled = [name for name, count in outcome.clean.items() if count > 1]
        assert not doubled, f"{len(doubled)} doubled, for example {doubled[:3]}"
        assert outcome.refused == refused, (
            f"missing {list(refused - outcome.refused)[:3]},"
            f" too many {list(outcome.refused - refused)[:3]}"
        )
        return outcome


def _take(outcome: Outcome, topic: str, value: bytes) -> None:
    if topic == CLEAN:
        # The first field: five bytes of header, one for the length, 36 for the id.
        outcome.clean[value[6:42].decode()] += 1
        outcome.events.append(value)
    else:
        letter = decode(topic, value)
        outcome.refused[letter["reason"], hashlib.sha256(letter["payload"]).hexdigest()] += 1
        outcome.letters.append(letter)


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, part) for part in sorted(consumer.partitions_for_topic(topic))]
