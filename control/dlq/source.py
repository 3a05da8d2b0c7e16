"""Letters out of events.dlq: newest first, all, or by name. Only committed ones are there."""

import heapq
from collections.abc import Iterable, Iterator
from math import ceil, floor

from control.dlq.letter import TOPIC, Letter, LetterId, read_letter
from control.dlq.wish import Wish
from control.errors import SluiceError
from control.events.decoding import Decoding
from control.events.reader import Reader, Spans

# A page is rarely longer than the first window; a long search is quicker in large ones.
_FIRST_WINDOW = 200
_LARGEST_WINDOW = 4_000
# A gap up to this many offsets is read over; a larger one costs less to jump.
_GAP = 2_000

Found = tuple[Letter, bytes]


class Letters:
    """Reads letters with bounded memory: payloads are dropped where nobody asked for them."""

    def __init__(self, reader: Reader, decoding: Decoding) -> None:
        self._reader = reader
        self._decoding = decoding
        self.seen = 0
        # Messages in the topic that are no letters.
        self.foreign = 0

    def newest_first(self, wish: Wish) -> Iterator[Letter]:
        """Yield the letters of a wish, but for its state and limit."""
        parts = [
            self._backwards(number, first, end)
            for number, (first, end) in self._spans(wish).items()
        ]
        merged = heapq.merge(*parts, key=lambda letter: (letter.time, letter.id), reverse=True)
        return (letter for letter in merged if wish.takes(letter))

    def in_any_order(self, wish: Wish) -> Iterator[Letter]:
        """Yield the letters of a wish as they come, which is the quickest way to see all."""
        for letter, _ in self._read(self._spans(wish)):
            if wish.takes(letter):
                yield letter

    def named(self, ids: Iterable[LetterId]) -> Iterator[Found]:
        """Yield letters with their payloads; what is gone is left out. The ids are in order."""
        run: list[LetterId] = []
        for one in ids:
            if run and (
                one.partition != run[-1].partition or one.offset > run[-1].offset + _GAP
                or len(run) == _LARGEST_WINDOW
            ):
                yield from self._run(run)
                run = []
            run.append(one)
        yield from self._run(run)

    def find(self, wanted: LetterId) -> Found:
        """Return one letter, or say why there is none."""
        spans = self._reader.spans(TOPIC)
        if wanted.partition not in spans:
            message = f"There is no letter {wanted}: {TOPIC} has no partition {wanted.partition}."
            raise SluiceError(message, f"Its partitions are 0 to {max(spans)}.")
        first, end = spans[wanted.partition]
        if wanted.offset < first:
            message = f"Letter {wanted} is gone: {TOPIC} keeps letters for a time, 30 days mostly."
            raise SluiceError(message, f"The oldest in its partition is at {first:,}.")
        if wanted.offset < end:
            for found in self._run([wanted]):
                return found
        message = f"There is no letter {wanted}."
        raise SluiceError(message, "`sluice dlq list` lists them.")

    def _spans(self, wish: Wish) -> Spans:
        since = None if wish.since is None else floor(wish.since.timestamp() * 1_000)
        until = None if wish.until is None else ceil(wish.until.timestamp() * 1_000)
        return self._reader.spans(TOPIC, since, until)

    def _run(self, run: list[LetterId]) -> Iterator[Found]:
        if not run:
            return
        wanted = {one.offset for one in run}
        number = run[0].partition
        first, end = self._reader.spans(TOPIC).get(number, (0, 0))
        span = max(first, run[0].offset), min(end, run[-1].offset + 1)
        for found in self._read({number: span}):
            if found[0].id.offset in wanted:
                yield found

    def _backwards(self, number: int, first: int, end: int) -> Iterator[Letter]:
        size = _FIRST_WINDOW
        while end > first:
            begin = max(first, end - size)
            window = [letter for letter, _ in self._read({number: (begin, end)})]
            yield from reversed(window)
            end, size = begin, min(size * 2, _LARGEST_WINDOW)

    def _read(self, spans: Spans) -> Iterator[Found]:
        for record in self._reader.between(TOPIC, spans):
            found = read_letter(record, self._decoding)
            if found is None:
                self.foreign += 1
                continue
            self.seen += 1
            yield found
