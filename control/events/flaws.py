"""What can be wrong with a message: events that break a rule, and bytes that are no event."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from control.events.chance import between
from control.events.encoder import Encoder
from control.events.event import Body, Event, to_bytes
from udfs.reasons import Reason
from udfs.wire import HEADER_SIZE, MAGIC, frame

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND

# More than the largest id of any registry here, and few: each costs ingest a question.
_UNKNOWN_IDS = range(2_000_000_000, 2_000_000_100)

# Above the 1 MiB that ingest takes, below the 10 MiB that the topic takes.
_HUGE = range(3 * 2**19, 5 * 2**19)


@dataclass(frozen=True)
class Invalid:
    """A rule of ours that an event breaks; its bytes decode."""

    name: str
    reason: Reason
    spoil: Callable[[Random, Body], None]
    # None: any domain will do.
    domain: str | None = None


@dataclass(frozen=True)
class Poison:
    """Bytes that no event can be read from."""

    name: str
    reason: Reason
    # From the bytes of a sound event and that event.
    make: Callable[[Random, bytes, Event, Encoder], bytes]
    weight: float = 1.0


def _empty_tenant(_chance: Random, body: Body) -> None:
    body["tenant_id"] = ""


def _bad_event_id(chance: Random, body: Body) -> None:
    body["event_id"] = _no_uuid(chance, body["event_id"])


def _bad_correlation_id(chance: Random, body: Body) -> None:
    body["correlation_id"] = _no_uuid(chance, body["correlation_id"])


def _no_uuid(chance: Random, uuid: str) -> str:
    # Each stays unique, so that every message can be told from the others.
    return chance.choice((f"z{uuid[1:]}", uuid[:-1], f"{uuid}0", uuid.replace("-", "_")))


def _too_old(chance: Random, body: Body) -> None:
    body["occurred_at"] -= between(chance, 2 * 365, 20 * 365) * _DAY


def _too_far_ahead(chance: Random, body: Body) -> None:
    body["occurred_at"] += between(chance, 2, 365) * _DAY


def _negative(chance: Random, body: Body) -> None:
    body["amount"] = to_bytes(-between(chance, 1, 500_000))


def _bad_currency(chance: Random, body: Body) -> None:
    body["currency"] = chance.choice(("eur", "EU", "EURO", "E1R", "€UR"))


def _unknown_type(chance: Random, body: Body) -> None:
    domain = body["event_type"].partition(".")[0]
    body["event_type"] = f"{domain}.{chance.choice(('vanished', 'exploded', 'Created', ''))}"


INVALID = (
    Invalid("empty_tenant_id", Reason.MISSING_FIELD, _empty_tenant),
    Invalid("bad_event_id", Reason.BAD_UUID, _bad_event_id),
    Invalid("bad_correlation_id", Reason.BAD_UUID, _bad_correlation_id),
    Invalid("years_old", Reason.TOO_OLD, _too_old),
    Invalid("days_ahead", Reason.TOO_FAR_AHEAD, _too_far_ahead),
    Invalid("negative_amount", Reason.BAD_AMOUNT, _negative, "transaction"),
    Invalid("bad_currency", Reason.BAD_AMOUNT, _bad_currency, "transaction"),
    Invalid("unknown_event_type", Reason.UNKNOWN_EVENT_TYPE, _unknown_type),
)


def _random_bytes(chance: Random, _sound: bytes, _event: Event, _encoder: Encoder) -> bytes:
    # A zero at the start might be taken for the wire format's.
    return bytes([chance.randrange(1, 256)]) + chance.randbytes(chance.randrange(4, 400))


def _empty(_chance: Random, _sound: bytes, _event: Event, _encoder: Encoder) -> bytes:
    return b""


def _short(chance: Random, sound: bytes, _event: Event, _encoder: Encoder) -> bytes:
    return sound[:chance.randrange(1, HEADER_SIZE)]


def _wrong_magic(chance: Random, sound: bytes, _event: Event, _encoder: Encoder) -> bytes:
    return bytes([chance.randrange(MAGIC + 1, 256)]) + sound[1:]


def _truncated(chance: Random, sound: bytes, _event: Event, _encoder: Encoder) -> bytes:
    # Avro has no optional end: whatever is cut off is missed.
    return sound[:chance.randrange(HEADER_SIZE, len(sound))]


def _trailing(chance: Random, sound: bytes, _event: Event, _encoder: Encoder) -> bytes:
    return sound + chance.randbytes(chance.randrange(1, 20))


def _bad_length(_chance: Random, sound: bytes, event: Event, _encoder: Encoder) -> bytes:
    # One byte says how long the id is: here it claims to have 2**40 bytes.
    start = sound.index(event.body["event_id"].encode())
    return sound[:start - 1] + b"\x80\x80\x80\x80\x80\x40" + sound[start:]


def _bad_text(_chance: Random, sound: bytes, event: Event, _encoder: Encoder) -> bytes:
    # 0xFF is in no UTF-8 text.
    source = event.body["source"].encode()
    return sound.replace(source, b"\xff" * len(source))


def _unknown_id(chance: Random, sound: bytes, _event: Event, _encoder: Encoder) -> bytes:
    return frame(chance.choice(_UNKNOWN_IDS), sound[HEADER_SIZE:])


def _wrong_id(_chance: Random, _sound: bytes, event: Event, encoder: Encoder) -> bytes:
    body = event.body
    return encoder.encode_tenant({"tenant_id": body["tenant_id"], "name": body["event_id"]})


def _huge(chance: Random, sound: bytes, _event: Event, _encoder: Encoder) -> bytes:
    return sound[:HEADER_SIZE] + chance.randbytes(chance.choice(_HUGE))


POISON = (
    Poison("random_bytes", Reason.NOT_WIRE_FORMAT, _random_bytes),
    Poison("empty", Reason.EMPTY, _empty),
    Poison("short", Reason.NOT_WIRE_FORMAT, _short),
    Poison("wrong_magic", Reason.NOT_WIRE_FORMAT, _wrong_magic),
    Poison("truncated", Reason.UNDECODABLE, _truncated),
    Poison("trailing", Reason.UNDECODABLE, _trailing),
    Poison("bad_length", Reason.UNDECODABLE, _bad_length),
    Poison("bad_text", Reason.UNDECODABLE, _bad_text),
    Poison("unknown_id", Reason.UNKNOWN_SCHEMA, _unknown_id),
    Poison("wrong_id", Reason.WRONG_RECORD, _wrong_id),
    # Seldom: one of them weighs as much as 5,000 events.
    Poison("huge", Reason.TOO_LARGE, _huge, weight=0.1),
)
