"""The messages of one run: events, and among them the stated shares of everything else."""

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import accumulate
from random import Random
from typing import Self

from control.errors import MisuseError
from control.events.chance import Deck, between
from control.events.encoder import Encoder
from control.events.event import Event
from control.events.flaws import INVALID, POISON
from control.events.generator import Generator

_SECOND = 1_000_000

# How far back a duplicate reaches at most: 50,000 messages of 300 bytes and their ids are 30 MB.
_REMEMBERED = 50_000

# Two minutes to twenty hours: later than any reorder buffer waits, younger than a day.
_LATE = (120, 20 * 3_600)
_OUT_OF_ORDER = (1, 15)


class Kind(StrEnum):
    """What a message is, and what an observer should find of it."""

    expect: str

    EVENT = "event", "clean"
    LATE = "late", "clean"
    OUT_OF_ORDER = "out_of_order", "clean"
    DUPLICATE = "duplicate", "duplicate"
    INVALID = "invalid", "dlq"
    POISON = "poison", "dlq"

    def __new__(cls, value: str, expect: str) -> Self:
        """Make a member with what to expect of it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.expect = expect
        return member

    # Counted for each message: an enum's own hash is written in Python.
    __hash__ = str.__hash__


@dataclass(frozen=True)
class Shares:
    """What part of all messages is not plain events, each from 0 to 1."""

    duplicates: float = 0.0
    late: float = 0.0
    out_of_order: float = 0.0
    invalid: float = 0.0
    poison: float = 0.0

    def check(self) -> None:
        """Refuse shares that are more than everything together."""
        shares = {field.name: getattr(self, field.name) for field in fields(self)}
        total = sum(shares.values())
        # Ten tenths are a little more than one in binary.
        if total <= 1 + 1e-9:
            return
        parts = " + ".join(
            f"--{name.replace('_', '-')} {share:g}" for name, share in shares.items() if share
        )
        message = f"The shares make {total:g} together, more than everything: {parts}."
        raise MisuseError(message, "Make them 1 or less together; the rest is plain events.")


@dataclass(slots=True)
class Message:
    """One message on its way to Kafka, and what its manifest says."""

    key: bytes
    value: bytes
    kind: Kind
    # None: no event can be read from the bytes.
    domain: str | None
    event_id: str | None
    tenant_id: str | None
    occurred_at: int | None
    # For what should become a dead letter: the reason, and what exactly is wrong.
    reason: str | None = None
    detail: str | None = None


class Traffic:
    """Mixes a generator's events with duplicates, late ones, broken ones and poison."""

    def __init__(
        self, generator: Generator, encoder: Encoder, shares: Shares, seed: int,
        remembered: int = _REMEMBERED,
    ) -> None:
        self._generator = generator
        self._encoder = encoder
        # Chance of its own: the events stay the same whatever the shares are.
        self._chance = Random(f"{seed}/traffic")  # noqa: S311 - made-up events, not secrets
        self._remembered = remembered
        self._past: list[Message] = []
        self._next = 0
        self._makers = (
            self._duplicate, self._late, self._out_of_order, self._spoiled, self._poisoned,
            self._event,
        )
        self._bounds = list(accumulate((
            shares.duplicates, shares.late, shares.out_of_order, shares.invalid, shares.poison,
        )))
        self._keeps = shares.duplicates > 0
        possible = [flaw for flaw in INVALID if flaw.domain is None or generator.has(flaw.domain)]
        self._invalid = Deck(possible, [1.0] * len(possible))
        self._poison = Deck(POISON, [flaw.weight for flaw in POISON])

    def messages(self) -> Iterator[Message]:
        """Yield messages for ever."""
        draw, bounds, makers = self._chance.random, self._bounds, self._makers
        while True:
            yield makers[bisect(bounds, draw())]()

    def _event(self) -> Message:
        return self._sound(self._generator.event(), Kind.EVENT)

    def _late(self) -> Message:
        return self._delayed(Kind.LATE, *_LATE)

    def _out_of_order(self) -> Message:
        return self._delayed(Kind.OUT_OF_ORDER, *_OUT_OF_ORDER)

    def _delayed(self, kind: Kind, least: float, most: float) -> Message:
        # An event of a flow would come before the one that caused it: one by itself is taken.
        event = self._generator.lone()
        event.body["occurred_at"] -= between(self._chance, least * _SECOND, most * _SECOND)
        return self._sound(event, kind)

    def _sound(self, event: Event, kind: Kind) -> Message:
        message = self._message(event, kind, self._encoder.encode(event))
        if self._keeps:
            self._remember(message)
        return message

    def _message(self, event: Event, kind: Kind, value: bytes) -> Message:
        body = event.body
        tenant = body["tenant_id"]
        return Message(
            tenant.encode(), value, kind, event.domain.name, body["event_id"], tenant,
            body["occurred_at"],
        )

    def _remember(self, message: Message) -> None:
        if len(self._past) < self._remembered:
            self._past.append(message)
        else:
            self._past[self._next] = message
        self._next = (self._next + 1) % self._remembered

    def _duplicate(self) -> Message:
        if not self._past:
            return self._event()
        back = between(self._chance, 1, len(self._past) + 1)
        first = self._past[(self._next - back) % len(self._past)]
        return Message(
            first.key, first.value, Kind.DUPLICATE, first.domain, first.event_id, first.tenant_id,
            first.occurred_at,
        )

    def _spoiled(self) -> Message:
        flaw = self._invalid.draw(self._chance)
        event = self._generator.lone(flaw.domain)
        flaw.spoil(self._chance, event.body)
        message = self._message(event, Kind.INVALID, self._encoder.encode(event))
        message.reason, message.detail = flaw.reason.value, flaw.name
        return message

    def _poisoned(self) -> Message:
        flaw = self._poison.draw(self._chance)
        event = self._generator.lone()
        value = flaw.make(self._chance, self._encoder.encode(event), event, self._encoder)
        # Keyed as the sound event would be: it arrives among that tenant's others.
        return Message(
            event.body["tenant_id"].encode(), value, Kind.POISON, None, None, None, None,
            flaw.reason.value, flaw.name,
        )
