"""Faults under load that ingest must survive, in any size."""

import random
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaProducer

from tests.kit import flink
from tests.kit.ingest import FLAWS, produce
from tests.kit.jobs import job_id, restarts, worker_of
from tests.kit.kafka import make_topic, read_committed
from tests.kit.mutation import mutate
from tests.kit.outcome import Manifest, Outcome, Outlet
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until
from udfs.schema_store import RegistryAddress, cache_folder

# A message without a value.
_NOTHING_EVERY = 100


def send_mutants(stack: TestStack, folder: Path, count: int, seed: int) -> None:
    """Send sound events with as many mutated ones between them; check that only these suffer."""
    chance = random.Random(seed)
    bootstrap = stack.settings().kafka_bootstrap
    topic = f"mutants-{seed}-{count}"
    make_topic(bootstrap, topic)
    manifest = produce(stack, folder / "mutants.jsonl", 2 * count, "--topic", topic, seed=seed)
    messages = read_committed(bootstrap, topic, 2 * count)
    sound = {message[6:42].decode() for message in messages[::2]}
    assert sound <= manifest.clean
    job = job_id(stack)
    before = restarts(stack, job)
    outlet = Outlet(bootstrap)
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20)
    for place, message in enumerate(messages):
        producer.send("events.raw", mutate(message, chance) if place % 2 else message)
        if place % _NOTHING_EVERY == 0:
            producer.send("events.raw", key=b"nothing", value=None)
    producer.flush()
    producer.close()
    total = len(messages)
    outcome = outlet.read(
        lambda found: len(found.events) + _of_ingest(found) >= total, 60 + total / 200
    )
    assert sound <= set(outcome.clean)
    assert max(outcome.clean.values()) == 1
    # A mutant comes out one way or the other; what has no value does not come out at all.
    assert len(outcome.events) + _of_ingest(outcome) == total
    assert _of_ingest(outcome) > count // 4
    assert restarts(stack, job) == before


def _of_ingest(outcome: Outcome) -> int:
    # A store may refuse a mutant that ingest let through.
    return sum(letter["stage"] == "ingest" for letter in outcome.letters)


@contextmanager
def sending(
    stack: TestStack, file: Path, count: int, rate: int, *options: str, seed: int
) -> Iterator[None]:
    """Send events in the background while the block runs; at its end all are acknowledged."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            produce(stack, file, count, "--rate", str(rate), *options, seed=seed)
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failed:
        raise failed[0]


def check_registry_outage(stack: TestStack, folder: Path, seconds: float, count: int) -> None:
    """Stop the registry under load, restart a worker meanwhile; nothing is lost or refused."""
    job = job_id(stack)
    outlet = Outlet(stack.settings().kafka_bootstrap)
    # The events keep coming while it is away: they are encoded before.
    file = folder / "outage.jsonl"
    with sending(stack, file, count, round(count / (seconds + 10)), "--older", "0.5", seed=51):
        time.sleep(5)
        stack.kill("registry")
        # A restarted worker has forgotten the schemas, and so has the disk: it must wait.
        address = RegistryAddress(stack.settings().registry_url.get_secret_value())
        shutil.rmtree(cache_folder(address))
        stack.kill(worker_of(stack, job, "clean"))
        time.sleep(seconds)
        stack.ok("stack", "up")
    outcome = outlet.check(Manifest.read(file), 240)
    assert not outcome.letters


def check_kills(
    stack: TestStack, folder: Path, victims: Sequence[str], count: int, seed: int
) -> None:
    """Kill -9 servers at random moments under load; exactly what was sent comes out."""
    chance = random.Random(seed)
    job = job_id(stack)
    wait_until("running", lambda: flink.is_running(stack, job), 120)
    outlet = Outlet(stack.settings().kafka_bootstrap)
    file = folder / f"kills-{seed}.jsonl"
    rate = max(400, count // 60)
    with sending(stack, file, count, rate, *FLAWS, seed=seed):
        for victim in victims:
            time.sleep(chance.uniform(2, 6))
            name = worker_of(stack, job, "clean") if victim == "taskmanager" else victim
            print(f"kill -9 {name}")
            stack.kill(name)
            time.sleep(chance.uniform(0, 3))
            stack.ok("stack", "up")
            wait_until("running again", lambda: flink.is_running(stack, job), 180)
    outlet.check(Manifest.read(file), 120 + count / 200)
