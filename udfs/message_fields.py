"""How each field of a message becomes a variable in the source of a transcoder."""

import re
import struct
from binascii import unhexlify
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from udfs.avro_parts import read_number, sized
from udfs.cleaner import scale_of
from udfs.contract import Domain, Schema

REQUIRED = ("tenant_id", "entity_id", "source")
_UUIDS = ("event_id", "correlation_id", "causation_id")
_UUID = re.compile(rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_UUID_SIZE = sized(b"-" * 36)[:1]
_LONGEST_NUMBER = 9

# Each sets {into}; m is the message, i the position.
_SPAN = ("n = m[i]", "if n & 129: s, j = span(m, i)", "else: s = i + 1; j = s + (n >> 1)")
_NUMBER = ("n = m[i]", "if n & 128: n, i = read_number(m, i)",
           "else: n = (n >> 1) ^ -(n & 1); i += 1")
_READ = {
    "text": (*_SPAN, "{into} = m[i:j]", "if not {into}.isascii(): m[s:j].decode()", "{extra}",
             "i = j"),
    "uuid": (*_SPAN, "if not uuid(m, s, j): return None", "{extra}",
             "{into} = uuid_size + m[s:j].lower()", "i = j"),
    "enum": ("n = m[i]", "i += 1", "if n & 129: return None", "{into} = {table}[n >> 1]",
             "if {into} is None: return None"),
    # One of this century in microseconds takes eight bytes; any other goes the long way.
    "time": (
        "{into} = m[i:i + 8]", "a, b, c, d, e, f, g, h = {into}",
        "if not a & b & c & d & e & f & g > 127 > h > 0: return None",
        "n = (a & 127 | (b & 127) << 7 | (c & 127) << 14 | (d & 127) << 21 | (e & 127) << 28"
        " | (f & 127) << 35 | (g & 127) << 42 | h << 49)",
        "occurred = (n >> 1) ^ -(n & 1)", "i += 8",
    ),
    "decimal": (*_SPAN, "{into} = m[s:j]", "i = j"),
    "boolean": ("{into} = m[i]", "i += 1", "if {into} > 1: return None"),
    "double": ("{into} = read_double(m, i)[0]", "i += 8"),
    "float": ("{into} = read_float(m, i)[0]", "i += 4"),
    "number": (*_NUMBER, "{into} = n"),
    "whole as double": (*_NUMBER, "{into} = float(n)"),
}
# What else is wanted of a field.
_EXTRA = {
    "event_id": "event_id = unhexlify(m[s:j].replace(b'-', b''))",
    "tenant_id": "tenant = m[s:j].decode()",
}


class UnusualError(Exception):
    """Nothing can be made for this schema; the long way takes it."""


@dataclass(frozen=True)
class Source:
    """A field of the newest version, and where its value comes from."""

    name: str
    # text, enum, number, double, boolean, decimal, time
    kind: str
    type: Any
    # The variable that holds it, or what is put in its place.
    variable: str
    default: Any = None
    is_default: bool = False


class Code:
    """Lines of a function, and the names that they use."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.lines: list[str] = []
        self.known = dict(known)

    def constant(self, value: Any) -> str:
        """Return the name of a value."""
        name = f"k{len(self.known)}"
        self.known[name] = value
        return name


def read_fields(code: Code, written: Schema, domain: Domain) -> dict[str, Source]:
    """Add the lines that read a message; return the newest version's fields, in their order."""
    code.known |= {
        "read_double": struct.Struct("<d").unpack_from, "uuid_size": _UUID_SIZE,
        "read_float": struct.Struct("<f").unpack_from, "uuid": _UUID.fullmatch,
        "unhexlify": unhexlify, "span": _span, "read_number": _strict_number,
    }
    newest = {str(field["name"]): field for field in domain.newest["fields"]}
    # A field goes by its own name or, in an older version, by one of its aliases.
    targets = {alias: name for name, field in newest.items()
               for alias in field.get("aliases", ())} | {name: name for name in newest}
    sources: dict[str, Source] = {}
    for place, field in enumerate(written["fields"]):
        name = targets.get(str(field["name"]))
        source = _read_field(code, f"v{place}", field, newest.get(name or ""))
        if name is not None:
            if name in sources:
                raise UnusualError
            sources[name] = source
    code.lines.append("if i != end: return None")
    for name, field in newest.items():
        if name not in sources:
            sources[name] = _absent(code, name, field)
    return {name: sources[name] for name in newest}


def _read_field(code: Code, variable: str, field: Schema, target: Schema | None) -> Source:
    name = str(target["name"] if target else field["name"])
    nullable, base = plain(field["type"])
    wanted_nullable, wanted = plain((target or field)["type"])
    kind = _resolved(base, wanted)
    if name == "occurred_at":
        if kind != "number":
            raise UnusualError
        kind = "time"
    body = _body(code, kind, variable, name, base, wanted)
    if nullable:
        on_null = f"{variable} = None" if wanted_nullable else "return None"
        code.lines += [
            "b = m[i]", "i += 1", "if b == 2:", *(f" {line}" for line in body),
            f"elif b == 0: {on_null}", "else: return None",
        ]
    else:
        code.lines += body
    return Source(name, kind, wanted, variable)


def _body(code: Code, kind: str, variable: str, name: str, base: Any, wanted: Any) -> list[str]:
    extra = _EXTRA.get(name, "pass")
    table = ""
    if kind == "text" and name in _UUIDS:
        kind = "uuid"
    elif kind == "decimal":
        if scale_of(base) != scale_of(wanted):
            raise UnusualError
    elif kind == "enum":
        table = code.constant(_symbols(base, wanted))
    elif base in ("float", "double"):
        kind = base
    elif kind == "double":
        kind = "whole as double"
    return [line.format(into=variable, extra=extra, table=table) for line in _READ[kind]]


def _absent(code: Code, name: str, field: Schema) -> Source:
    if "default" not in field or name in {*REQUIRED, "event_id", "correlation_id"}:
        raise UnusualError
    _, base = plain(field["type"])
    kind = _resolved(base, base)
    default = field["default"]
    if default is not None:
        if kind in {"text", "enum"}:
            default = sized(default.encode())
        elif kind == "double":
            default = float(default)
        elif kind != "number":
            raise UnusualError
    return Source(name, kind, base, code.constant(default), default, is_default=True)


def plain(kind: Any) -> tuple[bool, Any]:
    """Return whether a type may be null, and the type without that."""
    if not isinstance(kind, list):
        return False, kind
    if len(kind) != 2 or kind[0] != "null":  # noqa: PLR2004
        raise UnusualError
    return True, kind[1]


def _resolved(written: Any, wanted: Any) -> str:
    """Return how a value of one type is taken for another."""
    one, other = (kind["type"] if isinstance(kind, dict) else kind for kind in (written, wanted))
    if one == other == "string":
        return "text"
    if one == other == "enum":
        if written["name"] != wanted["name"]:
            raise UnusualError
        return "enum"
    if one == other == "boolean":
        return "boolean"
    if one == other == "bytes" and isinstance(written, dict) and isinstance(wanted, dict):
        return "decimal"
    if (one, other) in {("int", "int"), ("int", "long"), ("long", "long")}:
        return "number"
    if other == "double" and one in {"int", "long", "float", "double"}:
        return "double"
    raise UnusualError


def _symbols(written: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[bytes | None, ...]:
    """Return the text of each number of an enum; None where the long way must decide."""
    known = set(wanted["symbols"])
    return tuple(
        sized(symbol.encode()) if symbol in known else None for symbol in written["symbols"]
    )


def _strict_number(message: bytes, place: int) -> tuple[int, int]:
    """Return a whole number and the place after it; one that could be shorter is an error."""
    value, after = read_number(message, place)
    if (message[after - 1] == 0 and after - place > 1) or after - place > _LONGEST_NUMBER:
        text = "a number that is written in no usual way"
        raise ValueError(text)
    return value, after


def _span(message: bytes, place: int) -> tuple[int, int]:
    """Return where a longer text begins and ends."""
    size, start = _strict_number(message, place)
    if size < 0:
        text = "a negative length"
        raise ValueError(text)
    return start, start + size
