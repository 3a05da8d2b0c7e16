"""From a raw message straight to its canonical record, where nothing is wrong with the message.

Decoding into a dictionary, judging, cleaning and writing it takes 40 µs; this takes a third. As in
`copy_rows` a function is made for each schema: it keeps the bytes of texts as they are, and moves
them to where the canonical record has them. Whatever is unusual, in a schema or in a message, is
left to the long way (`Ingestion.judge`), which alone refuses and says why: what comes out here is
always what comes out there.
"""

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

from udfs.avro_parts import number, sized
from udfs.cleaner import OURS, Tenant, rescale, scale_of
from udfs.contract import Domain, Schema
from udfs.message_fields import REQUIRED, Code, Source, UnusualError, plain, read_fields
from udfs.rules import Rule, TimeLimits
from udfs.wire import HEADER_SIZE, frame

TenantOf = Callable[[str], Tenant | None]
# Event id, tenant, time of occurrence, canonical record; None: take the long way.
Transcoder = Callable[[bytes, int, int, TenantOf], tuple[bytes, str, int, bytes] | None]

# The rules that the code below keeps; with any other one the long way is taken.
_KEPT = frozenset({"required_ids", "uuids", "event_type", "age", "ahead", "amount", "currency"})

_NULL, _SECOND, _EMPTY = b"\x00", b"\x02", b"\x00"
_SECOND_MICROS = 1_000_000
# The first 21 bits of a time change with each event, the others every second.
_LOW_BITS = 21
_FEW = 1_000


def compile_transcoder(
    domain: Domain, rules: Sequence[Rule], limits: TimeLimits, written: Schema, version: int,
    clean: Schema, clean_id: int,
) -> Transcoder | None:
    """Return a function for the messages of one schema, or None where there is no short way."""
    if {rule.__name__ for rule in rules} - _KEPT:
        return None
    try:
        transcode = _Maker(domain, limits, written, version, clean, clean_id).compile()
    except UnusualError:
        return None

    def careful(
        message: bytes, received: int, now: int, tenant: TenantOf
    ) -> tuple[bytes, str, int, bytes] | None:
        try:
            return transcode(message, received, now, tenant)
        # Whatever it is, the long way meets it too, and says what it is.
        except Exception:  # noqa: BLE001
            return None

    return careful


class _Maker:
    """Writes the source of one transcoder."""

    def __init__(
        self, domain: Domain, limits: TimeLimits, written: Schema, version: int, clean: Schema,
        clean_id: int,
    ) -> None:
        self._domain = domain
        self._limits = limits
        self._version = version
        self._clean = clean
        self._clean_id = clean_id
        self._code = Code({
            "null": _NULL, "second": _SECOND, "empty": _EMPTY, "nothing": b"", "join": b"".join,
            "sized": sized, "write_double": struct.Struct("<d").pack, "rescale": rescale,
            "stamp": _make_stamp(), "nobody": Tenant().encoded, "joined": _joined,
            "counts": tuple(map(number, range(256))),
            "known_types": frozenset(sized(name.encode()) for name in domain.event_types),
        })
        self._sources = read_fields(self._code, written, domain)

    def compile(self) -> Transcoder:
        """Return the function."""
        self._judge()
        attributes = self._gather_attributes()
        result = self._emit(attributes)
        source = "\n".join([
            "def transcode(m, received, now, tenant_of):", f" i, end = {HEADER_SIZE}, len(m)",
            *(f" {line}" for line in self._code.lines),
            f" return event_id, tenant, occurred, join(({result}))",
        ])
        # The text comes from types of schemas; their names are constants beside it.
        exec(source, self._code.known)  # noqa: S102
        made: Transcoder = self._code.known["transcode"]
        return made

    # Judging: as the rules do.

    def _judge(self) -> None:
        sources = self._sources
        if not {*REQUIRED, "event_id", "correlation_id", "occurred_at", "event_type"} <= set(
            sources
        ):
            raise UnusualError
        refused = [f"{sources[name].variable} == empty" for name in REQUIRED]
        oldest = int(self._limits.max_age_days * 86_400 * _SECOND_MICROS)
        ahead = int(self._limits.max_ahead_minutes * 60 * _SECOND_MICROS)
        refused += [
            f"{sources['event_type'].variable} not in known_types",
            f"received - occurred > {oldest}", f"occurred - received > {ahead}",
        ]
        if (amount := sources.get("amount")) is not None and not amount.is_default:
            refused.append(f"({amount.variable} and {amount.variable}[0] > 127)")
        if (money := sources.get("currency")) is not None:
            code = money.variable
            refused.append(
                f"({code} is not None and not"
                f" (len({code}) == 4 and {code}[1:].isalpha() and {code}[1:].isupper()))"
            )
        self._code.lines.append(f"if {' or '.join(refused)}: return None")

    # Cleaning and writing.

    def _gather_attributes(self) -> str:
        columns = {str(field["name"]) for field in self._clean["fields"]}
        used = ((columns & set(self._sources)) - OURS) | set(self._domain.text) | set(
            self._domain.columns.values())
        self._code.lines += ["a, c = nothing, 0"]
        for source in self._sources.values():
            if source.name in used or (source.is_default and source.default is None):
                continue
            key = self._code.constant(sized(source.name.encode()))
            self._code.lines += [f"if {source.variable} is not None:",
                            f" a += {key} + {_as_text(source)}; c += 1"]
        return "(counts[c] + a + null if c else null)"

    def _emit(self, attributes: str) -> str:
        """Return the parts of the canonical record, constants next to each other joined."""
        self._code.lines.append("who = tenant_of(tenant)")
        self._code.lines.append("name, tier, region = nobody if who is None else who.encoded")
        ours: dict[str, str | bytes] = {
            "domain": sized(self._domain.name.encode()), "schema_version": number(self._version),
            "received_at": "stamp(received)", "cleaned_at": "stamp(now)", "tenant_name": "name",
            "tenant_tier": "tier", "tenant_region": "region", "is_error": self._is_error(),
            "text": self._text(), "attributes": attributes,
        }
        parts: list[str] = []
        waiting = frame(self._clean_id, b"")
        part: str | bytes
        for field in self._clean["fields"]:
            name = str(field["name"])
            part = ours[name] if name in ours else self._column(name, field["type"])
            if isinstance(part, bytes):
                waiting += part
                continue
            if waiting:
                parts.append(self._code.constant(waiting))
                waiting = b""
            parts.append(part)
        return ", ".join([*parts, self._code.constant(waiting)])

    def _column(self, name: str, kind: Any) -> str | bytes:
        nullable, base = plain(kind)
        source = self._sources.get(self._domain.columns.get(name, name))
        if source is None or (source.is_default and source.default is None):
            if not nullable:
                raise UnusualError
            return _NULL
        value = self._value(source, base)
        if not nullable:
            return value
        return f"(null if {source.variable} is None else second + {value})"

    def _value(self, source: Source, base: Any) -> str:
        wanted = base["type"] if isinstance(base, dict) else base
        if wanted == "string" and source.kind in {"text", "enum"}:
            return source.variable
        if wanted == "double" and source.kind == "double":
            return f"write_double({source.variable})"
        if wanted == "long" and source.kind == "time":
            return source.variable
        if wanted == "bytes" and source.kind == "decimal":
            places = scale_of(base) - scale_of(source.type)
            if places:
                return f"sized(rescale({source.variable}, {places}))"
            return f"sized({source.variable})"
        raise UnusualError

    def _text(self) -> str | bytes:
        sources = [self._sources[name] for name in self._domain.text]
        if any(source.kind not in {"text", "enum"} for source in sources):
            raise UnusualError
        if not sources:
            return _NULL
        if len(sources) > 1:
            return f"joined({', '.join(source.variable for source in sources)})"
        text = sources[0].variable
        return f"(null if {text} is None or {text} == empty else second + {text})"

    def _is_error(self) -> str | bytes:
        tests = []
        for name, values in self._domain.errors.items():
            source = self._sources[name]
            if source.kind not in {"text", "enum"} or None in values:
                raise UnusualError
            wrong = self._code.constant(frozenset(sized(str(value).encode()) for value in values))
            tests.append(f"{source.variable} in {wrong}")
        return f"(b'\\x01' if {' or '.join(tests)} else b'\\x00')" if tests else b"\x00"


def _joined(*texts: bytes | None) -> bytes:
    """Return texts as one optional text, as words of a sentence."""
    parts = []
    for text in texts:
        if text is not None and text != _EMPTY:
            start = next(place for place, byte in enumerate(text, 1) if byte < 128)  # noqa: PLR2004
            parts.append(text[start:])
    return _SECOND + sized(b" ".join(parts)) if parts else _NULL


def _as_text(source: Source) -> str:
    if source.kind in {"text", "enum"}:
        return source.variable
    if source.kind in {"number", "double"}:
        return f"sized(repr({source.variable}).encode())"
    if source.kind == "boolean":
        yes, no = (sized(json.dumps(value).encode()) for value in (True, False))
        return f"({yes!r} if {source.variable} else {no!r})"
    raise UnusualError


def _make_stamp() -> Callable[[int], bytes]:
    """Return a function that writes times of the present, the same seconds again and again."""
    tails: dict[int, bytes] = {}

    def stamp(moment: int) -> bytes:
        left = moment << 1
        tail = tails.get(left >> _LOW_BITS)
        if tail is None:
            whole = number(moment)
            if len(whole) != 8 or moment < 0:  # noqa: PLR2004
                return whole
            if len(tails) > _FEW:
                tails.clear()
            tail = tails[left >> _LOW_BITS] = whole[3:]
        return bytes((left & 127 | 128, left >> 7 & 127 | 128, left >> 14 & 127 | 128)) + tail

    return stamp
