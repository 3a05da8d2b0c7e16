"""Which letters a command is about, decided before anything is done."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from control.dlq.book import Book
from control.dlq.letter import Letter, LetterId, State
from control.dlq.source import Letters
from control.dlq.verdict import Rules, Verdict
from control.dlq.wish import Wish
from control.errors import SluiceError

# Their states are asked for together.
_CHUNK = 500

T = TypeVar("T")


@dataclass
class Plan:
    """What will be done to how many letters; ten million chosen ones take 80 MB."""

    reasons: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    # Of letters that were named one by one.
    named: dict[LetterId, Verdict] = field(default_factory=dict)
    _offsets: dict[int, "array[int]"] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many letters are taken."""
        return self.verdicts[Verdict.TAKEN]

    @property
    def left_out(self) -> dict[Verdict, int]:
        """How many letters are not, and why."""
        return {verdict: count for verdict, count in self.verdicts.items()
                if verdict is not Verdict.TAKEN and count}

    @property
    def ids(self) -> Iterator[LetterId]:
        """The letters that are taken, by partition and offset."""
        for number, offsets in sorted(self._offsets.items()):
            # They were found in the one order or the other.
            up = offsets if offsets[0] <= offsets[-1] else reversed(offsets)
            yield from (LetterId(number, offset) for offset in up)

    def add(self, letter: Letter, verdict: Verdict) -> None:
        """Take a letter in, or count why not."""
        self.verdicts[verdict] += 1
        if verdict is Verdict.TAKEN:
            self.reasons[letter.reason] += 1
            self._offsets.setdefault(letter.id.partition, array("q")).append(letter.id.offset)


def with_states(
    letters: Iterable[Letter], book: Book, wish: Wish
) -> Iterator[tuple[Letter, State]]:
    """Yield letters of a wish with their states."""
    for chunk in chunks(letters, _CHUNK):
        states = book.states(chunk)
        for letter in chunk:
            if wish.takes_state(states[letter.id]):
                yield letter, states[letter.id]


def plan_by_wish(letters: Letters, book: Book, wish: Wish, rules: Rules) -> Plan:
    """Plan for all letters of a wish."""
    plan = Plan()
    # A limit is one of the newest, as `list` shows them.
    found = letters.in_any_order(wish) if wish.limit is None else letters.newest_first(wish)
    for letter, state in islice(with_states(found, book, wish), wish.limit):
        plan.add(letter, rules.judge(letter, state))
    return plan


def plan_by_name(letters: Letters, book: Book, ids: Sequence[LetterId], rules: Rules) -> Plan:
    """Plan for letters that a person named, every one of which must be there."""
    plan = Plan()
    found = [letter for letter, _ in letters.named(sorted(set(ids)))]
    known = {letter.id for letter in found}
    missing = [one for one in dict.fromkeys(ids) if one not in known]
    if missing:
        try:
            # It says why: no such partition, too old, or never there.
            letters.find(missing[0])
        except SluiceError as error:
            others = f" {len(missing) - 1} more are not there." if len(missing) > 1 else ""
            message = f"{error.message}{others}"
            raise SluiceError(message, error.hint) from error
    for letter, state in with_states(found, book, Wish()):
        verdict = rules.judge(letter, state)
        plan.named[letter.id] = verdict
        plan.add(letter, verdict)
    return plan


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items in lists of at most a size."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
