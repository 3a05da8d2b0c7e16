"""Seeded chance: everything that the generator draws comes from here."""

import random
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")


class Weighted(Generic[T]):
    """Draws from a fixed list by weight."""

    def __init__(self, items: Sequence[T], weights: Sequence[float]) -> None:
        self._items = list(items)
        *self._bounds, self._total = accumulate(weights)

    def draw(self, chance: random.Random) -> T:
        """Return one item."""
        # random.choices does the same and builds a list each time.
        return self._items[bisect(self._bounds, chance.random() * self._total)]


class Deck(Generic[T]):
    """Draws by weight, but deals each item once first: a small run has every one, too."""

    def __init__(self, items: Sequence[T], weights: Sequence[float]) -> None:
        self._first = list(items)
        self._dealt = False
        self._weighted = Weighted(items, weights)

    def draw(self, chance: random.Random) -> T:
        """Return one item."""
        if not self._dealt:
            self._dealt = True
            chance.shuffle(self._first)
        return self._first.pop() if self._first else self._weighted.draw(chance)


def hexadecimal(chance: random.Random, size: int) -> str:
    """Return that many random bytes as digits."""
    return chance.getrandbits(size * 8).to_bytes(size).hex()


def uuid4(digits: str) -> str:
    """Return a UUID as text, made of 32 random digits; uuid.UUID takes four times as long."""
    # The four says version 4; an "a" is one of the four digits that say how the rest is read.
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def between(chance: random.Random, low: float, high: float) -> int:
    """Return a number on a logarithmic scale: small ones as often as large ones."""
    return int(low * (high / low) ** chance.random())
