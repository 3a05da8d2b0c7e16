"""A span of events that went through the live jobs, and replays of it."""

import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from tests.kit.ingest import FLAWS, produce
from tests.kit.outcome import Manifest
from tests.kit.sinks import row_ids
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

COUNT = 2_000


class Flow:
    """Events that went through both live jobs, and the span in which they came."""

    def __init__(self, stack: TestStack, folder: Path, seed: int) -> None:
        self.stack = stack
        self.since = datetime.now(UTC).isoformat()
        self.sent: Manifest = produce(stack, folder / "sent.jsonl", COUNT, *FLAWS, seed=seed)
        wait_until("all in the table", lambda: row_ids(stack, self.sent.clean) == self.sent.clean,
                   120, pause=1)
        # What ingest has committed by now lies before it.
        time.sleep(3)
        self.until = datetime.now(UTC).isoformat()

    def replay(self, job: str, *options: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Replay the span."""
        return self.stack.run("replay", job, "--from", self.since, "--to", self.until, *options,
                              **more)

    def shadow_table(self) -> str:
        """Return the name of what the newest replay writes beside the table."""
        return f"events_{self.newest()['lane'].replace('-', '_')}"

    def newest(self) -> dict[str, Any]:
        """Return the newest replay."""
        return dict(json.loads(self.stack.ok("replay", "list", "--json"))[0])


def shadow_ids(stack: TestStack, table: str) -> set[str]:
    """Return the ids of the events in a shadow of the table; one that stands twice is an error."""
    with psycopg.connect(stack.settings().timescale_dsn.get_secret_value()) as connection:
        found = connection.execute(f"SELECT event_id::text FROM shadow.{table}".encode())
        names = [str(row[0]) for row in found]
    assert len(names) == len(set(names)), "an event stands twice in the shadow"
    return set(names)
