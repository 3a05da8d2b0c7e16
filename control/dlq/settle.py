"""Find out what became of a replay that was cut off: its batch is on events.raw, or it is not.

Whoever settles has the lease and has taken over the transactional id, so nothing of the dead run
can appear any more. What it had not committed is aborted, and what it had committed is readable.
"""

from collections.abc import Callable
from dataclasses import dataclass

from control.db.lease import Lease
from control.dlq.book import Book, Unfinished
from control.dlq.fault import Point
from control.dlq.letter import LetterId, parse_id
from control.dlq.sender import TOPIC, ReplaySender
from control.errors import MisuseError
from control.events.decoding import Decoding
from control.events.reader import Reader
from control.fault import fault

# The lease is looked after each time so many messages were read.
_READ = 10_000


@dataclass
class Settled:
    """What became of the letters of unfinished batches."""

    # They had been sent.
    replayed: int = 0
    # They had not: they are open again.
    reopened: int = 0
    # It can no longer be told: events.raw has dropped what would tell.
    lost: int = 0

    @property
    def count(self) -> int:
        """How many letters there were."""
        return self.replayed + self.reopened + self.lost


class Settlement:
    """Looks for the letters of unfinished batches on events.raw."""

    def __init__(
        self, book: Book, held: Lease, reader: Reader, decoding: Decoding,
        headers: tuple[bytes, ...],
    ) -> None:
        self._book = book
        self._held = held
        self._reader = reader
        self._decoding = decoding
        # Replays are told from events by their first bytes: nothing else is decoded.
        self._headers = headers

    def settle(
        self, sender: ReplaySender, progress: Callable[[int], None] = lambda _: None
    ) -> Settled:
        """Settle whatever is unfinished."""
        settled = Settled()
        for batch in self._book.unfinished():
            found, whole = self._find(batch, sender.ends(), progress)
            fault(Point.FOUND)
            missing = batch.letters.keys() - found
            self._book.settle(self._held, batch.operation, found, () if whole else missing)
            settled.replayed += len(found)
            if whole:
                settled.reopened += len(missing)
            else:
                settled.lost += len(missing)
        return settled

    def _find(
        self, batch: Unfinished, ends: dict[int, int], progress: Callable[[int], None]
    ) -> tuple[set[LetterId], bool]:
        """Return the letters that were sent, and whether all that could tell is still there."""
        starts = {number: first for number, (first, _) in self._reader.spans(TOPIC).items()}
        wanted = {number: batch.raw_ends.get(number, 0) for number in ends}
        whole = all(
            starts[number] <= first <= ends[number] for number, first in wanted.items()
        )
        spans = {
            number: (max(starts[number], first), ends[number]) for number, first in wanted.items()
        }
        found: set[LetterId] = set()
        for seen, record in enumerate(self._reader.between(TOPIC, spans), 1):
            if seen % _READ == 0:
                self._book.renew(self._held)
                progress(seen)
            letter = self._letter(record.value or b"", batch)
            if letter is not None:
                found.add(letter)
                if len(found) == len(batch.letters):
                    break
        return found, whole

    def _letter(self, message: bytes, batch: Unfinished) -> LetterId | None:
        if not message.startswith(self._headers):
            return None
        fields = self._decoding.decode(message).fields or {}
        try:
            letter = parse_id(str(fields.get("letter")))
        except MisuseError:
            # Anybody may write to events.raw; what is no replay of ours settles nothing.
            return None
        return letter if batch.letters.get(letter, 0) == fields.get("attempt") else None
