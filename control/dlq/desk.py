"""Everything that a command around dead letters works with, and the order of its steps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from control.db.lease import Lease, lease
from control.dlq.book import LEASE, LEASE_SECONDS, Book, open_book
from control.dlq.fault import Point
from control.dlq.plan import Plan, chunks
from control.dlq.replay import Outcome, Replay
from control.dlq.rewrite import Rewriter
from control.dlq.sender import ReplaySender, ReplayWriter, open_replay_sender, replay_headers
from control.dlq.settle import Settled, Settlement
from control.dlq.source import Letters
from control.dlq.verdict import Rules, Verdict
from control.events.decoding import Decoding
from control.events.interruption import Interruption
from control.events.reader import Reader, open_reader
from control.fault import fault
from control.registry import RegistryClient
from control.settings import Settings

_DISCARDED_TOGETHER = 500

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Desk:
    """The book, the letters, and the servers behind them."""

    settings: Settings
    book: Book
    reader: Reader
    registry: RegistryClient
    decoding: Decoding
    letters: Letters

    def settle(self, progress: Progress) -> Settled:
        """Find out what became of a replay that was cut off, if one was."""
        if not self.book.unfinished():
            return Settled()
        with (
            lease(self.book.connection, LEASE, LEASE_SECONDS) as held,
            open_replay_sender(self.settings.kafka_bootstrap) as sender,
        ):
            return self._settle(held, sender, progress)

    def replay(
        self, plan: Plan, rules: Rules, rate: float | None, wish: Interruption,
        report: Callable[[Outcome], None],
    ) -> Outcome:
        """Send the letters of a plan, one replay at a time."""
        # Whatever the registry refuses, it refuses before anything is written down.
        writer = ReplayWriter(self.settings, self.registry)
        with (
            lease(self.book.connection, LEASE, LEASE_SECONDS) as held,
            open_replay_sender(self.settings.kafka_bootstrap) as sender,
        ):
            # Somebody may have been cut off since the plan was made.
            self._settle(held, sender, lambda _: None)
            rewriter = Rewriter(self.settings)
            run = Replay(self.book, self.letters, sender, writer, rewriter, held, rules, wish)
            return run.run(plan, rate, report)

    def discard(
        self, plan: Plan, rules: Rules, note: str, report: Callable[[int], None]
    ) -> tuple[str, int]:
        """Mark the letters of a plan; return the operation and how many there are."""
        done = 0
        with lease(self.book.connection, LEASE, LEASE_SECONDS) as held:
            operation = self.book.begin("discard", note)
            found = (letter for letter, _ in self.letters.named(plan.ids))
            for chunk in chunks(found, _DISCARDED_TOGETHER):
                states = self.book.states(chunk)
                taken = [letter for letter in chunk
                         if rules.judge(letter, states[letter.id]) is Verdict.TAKEN]
                self.book.discard(held, operation, taken)
                done += len(taken)
                report(done)
        return operation, done

    def _settle(self, held: Lease, sender: ReplaySender, progress: Progress) -> Settled:
        fault(Point.LEASED)
        sender.take_over()
        headers = replay_headers(self.settings, self.registry)
        settled = Settlement(self.book, held, self.reader, self.decoding, headers).settle(
            sender, progress
        )
        fault(Point.SETTLED)
        return settled


@contextmanager
def open_desk(settings: Settings) -> Iterator[Desk]:
    """Open what is needed; a server that is away is named."""
    with (
        RegistryClient(settings.registry_url) as registry,
        open_book(settings.timescale_dsn) as book,
        open_reader(settings.kafka_bootstrap) as reader,
    ):
        decoding = Decoding(registry.schema_by_id)
        yield Desk(settings, book, reader, registry, decoding, Letters(reader, decoding))
