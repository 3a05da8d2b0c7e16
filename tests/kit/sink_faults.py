"""Everything dies in turn under load; both stores must hold exactly what was sent."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from control.events.reader import open_reader
from control.reconcile.span import backlog
from tests.kit import flink
from tests.kit.databases import execute
from tests.kit.ingest import FLAWS, produce
from tests.kit.jobs import SINK_STEP, kill_python_worker, worker_of
from tests.kit.outcome import Manifest, Outcome, Outlet
from tests.kit.sinks import Clean, CleanMaker, document_ids, row_ids, send_clean
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until

SINKS = ("timescale", "search")
VICTIMS = (
    "python of timescale", "python of search", "taskmanager", "jobmanager", "postgres",
    "elasticsearch", "kafka",
)
_CHUNK = 4_000
# So many groups are what a store refuses of a chunk: all at once would be a burst, for which an
# upgrade may rightly be taken back.
_GROUPS = 10
# What PostgreSQL refuses (a constraint of the test), and what Lucene does: too long a term.
_REFUSED_SOURCE = "refuse me"
_CONSTRAINT = "sink_load_refuses"
_LONG = "x" * 40_000


class SinkLoad:
    """Sends events through ingest until told to stop, and records that one store will refuse.

    One in a hundred is refused by PostgreSQL, another one by Elasticsearch; besides there are
    duplicates, late events, invalid ones and poison.
    """

    def __init__(self, stack: TestStack, folder: Path, rate: int, seed: int) -> None:
        self._stack, self._folder, self._rate, self._seed = stack, folder, rate, seed
        # What other tests have taken from the stores behind everybody's back is not ours to judge.
        self._since = datetime.now(UTC)
        self._maker = CleanMaker(stack)
        self._outlet = Outlet(stack.settings().kafka_bootstrap)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failed: BaseException | None = None
        self._files: list[Path] = []
        self._refused: dict[str, list[Clean]] = {"timescale": [], "search": []}

    @property
    def sent(self) -> int:
        """How many messages were sent for sure."""
        return len(self._files) * _CHUNK

    def __enter__(self) -> "SinkLoad":
        """Begin to send."""
        execute(self._stack, f"ALTER TABLE public.events ADD CONSTRAINT {_CONSTRAINT}"
                             f" CHECK (source <> '{_REFUSED_SOURCE}')")
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Stop sending; all is acknowledged then."""
        self.finish()
        if kind is not None or self._failed is not None:
            # Nobody comes to check any more.
            self._refuse_no_longer()
        if self._failed is not None:
            raise self._failed

    def finish(self) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._send_chunk(len(self._files))
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self._failed = error

    def _send_chunk(self, number: int) -> None:
        seed = self._seed + number
        records = self._maker.make(_CHUNK // 50, seed)
        half = len(records) // 2
        bad = {
            "timescale": [self._maker.changed(record, source=_REFUSED_SOURCE)
                          for record in records[:half]],
            "search": [self._maker.changed(record, attributes={"long": _LONG})
                       for record in records[half:]],
        }
        file = self._folder / f"load-{seed}.jsonl"
        with ThreadPoolExecutor(1) as beside:
            sending = beside.submit(self._send_refused, bad)
            produce(self._stack, file, _CHUNK, "--rate", str(self._rate), *FLAWS,
                    seed=seed + 10**6)
            sending.result()
        self._files.append(file)

    def _send_refused(self, bad: Mapping[str, Sequence[Clean]]) -> None:
        for number in range(_GROUPS):
            group = {store: records[number::_GROUPS] for store, records in bad.items()}
            send_clean(self._stack, [record for records in group.values() for record in records])
            for store, records in group.items():
                self._refused[store] += records
            time.sleep(_CHUNK / self._rate / _GROUPS)

    def check(self, seconds: float) -> dict[str, int]:
        """Wait until all is written, then compare stores and letters with what was sent."""
        try:
            return self._check(seconds)
        finally:
            self._refuse_no_longer()

    def _refuse_no_longer(self) -> None:
        execute(self._stack, f"ALTER TABLE public.events DROP CONSTRAINT IF EXISTS {_CONSTRAINT}")

    def _check(self, seconds: float) -> dict[str, int]:
        manifest = Manifest.read(*self._files)
        refused = {store: {record.id for record in records}
                   for store, records in self._refused.items()}
        good = manifest.clean
        letters = manifest.refused.total() + sum(len(ids) for ids in refused.values())
        records = len(good) + sum(len(ids) for ids in refused.values())
        outcome = self._outlet.read(
            lambda found: len(found.letters) >= letters and len(found.events) >= records, seconds
        )
        assert set(outcome.clean) == good.union(*refused.values())
        assert max(outcome.clean.values()) == 1
        self._check_letters(outcome, manifest, refused)
        await_written(self._stack, seconds)
        sent = set(outcome.clean)
        _check_stored("timescale", row_ids(self._stack, sent), good | refused["search"])
        _check_stored("search", document_ids(self._stack, sent), good | refused["timescale"])
        verdict = self._stack.run("reconcile", "--from", self._since.isoformat(), "--json")
        assert verdict.returncode == 0, verdict.stdout + verdict.stderr
        assert json.loads(verdict.stdout)["events"] == records
        return {"events": records, "letters": letters}

    def _check_letters(
        self, outcome: Outcome, manifest: Manifest, refused: dict[str, set[str]]
    ) -> None:
        for store, ids in refused.items():
            # A job that was started without its state judges again what others had sent last.
            letters = [letter for letter in outcome.letters
                       if letter["stage"] == store and letter["event_id"] in outcome.clean]
            found = Counter(letter["event_id"] for letter in letters)
            extra = [letter["detail"] for letter in letters if letter["event_id"] not in ids]
            assert set(found) == ids, (
                f"{store}: {len(ids - set(found))} letters missing, {len(extra)} extra: {extra[:3]}"
            )
            assert max(found.values(), default=1) == 1, f"{store}: a letter was written twice"
        by_ingest = sum(letter["stage"] == "ingest" for letter in outcome.letters)
        assert by_ingest == manifest.refused.total()


def _check_stored(store: str, found: set[str], wanted: set[str]) -> None:
    lacking, extra = sorted(wanted - found), sorted(found - wanted)
    assert not lacking, f"{store}: {len(lacking)} of {len(wanted)} missing, such as {lacking[:3]}"
    assert not extra, f"{store}: {len(extra)} that it should have refused, such as {extra[:3]}"


def left(stack: TestStack) -> dict[str, int]:
    """Return how many offsets each sink has not surely written yet."""
    bootstrap = stack.settings().kafka_bootstrap
    with open_reader(bootstrap) as reader:
        return backlog(reader, bootstrap, SINKS)


def await_written(stack: TestStack, seconds: float, *stores: str) -> None:
    """Wait until these sinks, or both, have surely written all that is committed."""
    wait_until(
        "all written",
        lambda: all(count == 0 for store, count in left(stack).items()
                    if not stores or store in stores),
        seconds, pause=1,
    )


def await_running(stack: TestStack, jobs: Mapping[str, str]) -> None:
    """Wait until every task of these jobs runs; names and ids."""
    for name, job in jobs.items():
        wait_until(f"{name} runs", lambda: flink.is_running(stack, job), 240)  # noqa: B023


def kill_in_turn(
    stack: TestStack, jobs: Mapping[str, str], victims: Sequence[str], chance: random.Random
) -> None:
    """Kill -9 one after the other, each once the jobs run again."""
    for victim in victims:
        time.sleep(chance.uniform(1, 5))
        print(f"kill -9 {victim}")
        if victim.startswith("python of "):
            job = jobs[victim.removeprefix("python of ")]
            kill_python_worker(stack, worker_of(stack, job, SINK_STEP))
        else:
            stack.kill(worker_of(stack, jobs["timescale"], SINK_STEP)
                       if victim == "taskmanager" else victim)
            time.sleep(chance.uniform(0, 3))
            stack.ok("stack", "up")
        await_running(stack, jobs)
