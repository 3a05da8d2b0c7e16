"""One run of the generator: messages at an even pace, listed before they leave."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from control.events.encoder import Encoder
from control.events.generator import DEFAULT_OLDER, Generator
from control.events.interruption import Interruption, interruption
from control.events.manifest import Manifest
from control.events.pace import Pace
from control.events.sender import Sender, open_sender
from control.events.traffic import Message, Shares, Traffic
from control.registry import RegistryClient
from control.settings import Settings
from udfs.contract import full_name, load_contract

TOPIC = "events.raw"

# What is listed, sent and counted together; at 20,000 a second 12 ms.
_CHUNK = 250
_REPORT_SECONDS = 0.25


@dataclass(frozen=True)
class Run:
    """What is to be sent; without a count and a time it goes on until it is interrupted."""

    seed: int
    tenants: int
    count: int | None = None
    seconds: float | None = None
    rate: float | None = None
    shares: Shares = field(default_factory=Shares)
    older: float = DEFAULT_OLDER
    manifest: Path | None = None
    topic: str = TOPIC


@dataclass
class Sent:
    """What was sent so far."""

    seed: int
    count: int = 0
    size: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    domains: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.count / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it for a machine."""
        return {**asdict(self), "rate": round(self.rate, 1)}

    def add(self, messages: Sequence[Message]) -> None:
        """Count messages."""
        self.count += len(messages)
        self.size += sum([len(message.value) for message in messages])
        for kind, count in Counter([message.kind for message in messages]).items():
            self.kinds[kind.value] = self.kinds.get(kind.value, 0) + count
        for domain, count in Counter([message.domain for message in messages]).items():
            if domain is not None:
                self.domains[domain] = self.domains.get(domain, 0) + count


def produce(settings: Settings, run: Run, report: Callable[[Sent], None]) -> Sent:
    """Send a run's messages; return once every one is acknowledged."""
    run.shares.check()
    contract = load_contract(settings.schemas)
    with RegistryClient(settings.registry_url) as registry:
        encoder = Encoder(contract, lambda schema: registry.register(full_name(schema), schema))
    generator = Generator(contract, run.seed, run.tenants, run.older)
    messages = Traffic(generator, encoder, run.shares, run.seed).messages()
    with (
        open_sender(settings.kafka_bootstrap, run.topic) as sender,
        Manifest(run.manifest) if run.manifest else nullcontext() as manifest,
        interruption() as wish,
    ):
        return _send_all(run, messages, sender, manifest, wish, report)


def _send_all(
    run: Run, messages: Iterator[Message], sender: Sender, manifest: Manifest | None,
    wish: Interruption, report: Callable[[Sent], None],
) -> Sent:
    sent = Sent(run.seed)
    pace = Pace(run.rate)
    begun = reported = time.monotonic()
    while not wish.asked and (run.count is None or sent.count < run.count):
        if run.seconds is not None and time.monotonic() - begun >= run.seconds:
            break
        most = _CHUNK if run.count is None else min(_CHUNK, run.count - sent.count)
        chunk = list(islice(messages, pace.take(most)))
        if chunk:
            _send(chunk, sender, manifest)
            sent.add(chunk)
        now = time.monotonic()
        if now - reported > _REPORT_SECONDS:
            reported, sent.seconds = now, now - begun
            report(sent)
    sender.finish()
    sent.seconds = time.monotonic() - begun
    sent.interrupted = wish.asked
    report(sent)
    return sent


def _send(chunk: Sequence[Message], sender: Sender, manifest: Manifest | None) -> None:
    if manifest is not None:
        manifest.write(chunk)
    before = sender.sent
    try:
        for message in chunk:
            sender.send(message)
    except BaseException:
        # Whatever ended it, Ctrl-C too: what was never handed over is not in the manifest.
        if manifest is not None:
            manifest.keep(sender.sent - before)
        raise
