"""An Avro schema as typed parts: names are full, references are followed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

PRIMITIVES = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
)
NAMED = frozenset({"record", "enum", "fixed"})

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NoDefault:
    """Stands where a field has no default: None is one."""

    def __repr__(self) -> str:
        return "no default"


NO_DEFAULT: Final = NoDefault()


class NotAvroError(Exception):
    """A schema that cannot be read as Avro: where, why, and how to mend it."""

    def __init__(self, path: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.remedy = remedy


# Not compared by value: a record may hold itself.
@dataclass(eq=False)
class Shape:
    """A type. `kind` is Avro's own name for it, or `union`."""

    kind: str
    name: str = ""
    logical: str = ""
    precision: int = 0
    scale: int = 0
    size: int = 0
    symbols: tuple[str, ...] = ()
    fallback: str | None = None
    fields: tuple["Field", ...] = ()
    branches: tuple["Shape", ...] = ()
    inner: "Shape | None" = None

    def field(self, name: str) -> "Field | None":
        """Return a record's field of this name."""
        return next((entry for entry in self.fields if entry.name == name), None)

    @property
    def choices(self) -> tuple["Shape", ...]:
        """The branches of a union; anything else is its own only choice."""
        return self.branches if self.kind == "union" else (self,)

    @property
    def label(self) -> str:
        """How a union tells its branches apart."""
        return self.name or self.kind


@dataclass(eq=False)
class Field:
    """A field of a record."""

    name: str
    type: Shape
    default: Any = NO_DEFAULT
    aliases: tuple[str, ...] = ()
    doc: str = ""

    @property
    def has_default(self) -> bool:
        """Whether a reader can do without it."""
        return self.default is not NO_DEFAULT

    @property
    def names(self) -> tuple[str, ...]:
        """Its own name, and those it had before."""
        return (self.name, *self.aliases)


def parse(schema: object) -> Shape:
    """Read a schema's JSON; a NotAvroError says what is wrong with it."""
    return _Parser().read(schema, "", "")


def below(path: str, name: str) -> str:
    """Return the path of a field under another path."""
    return f"{path}.{name}" if path else name


def walk(shape: Shape, path: str = "") -> Iterator[tuple[str, Shape]]:
    """Return every type in a schema with its path; a type that is used twice comes once."""
    seen: set[int] = set()

    def visit(part: Shape, here: str) -> Iterator[tuple[str, Shape]]:
        if id(part) in seen:
            return
        seen.add(id(part))
        yield here, part
        for branch in part.branches:
            yield from visit(branch, here)
        for entry in part.fields:
            yield from visit(entry.type, below(here, entry.name))
        if part.inner is not None:
            yield from visit(part.inner, f"{here}[]")

    return visit(shape, path)


@dataclass
class _Parser:
    names: dict[str, Shape] = field(default_factory=dict)

    def read(self, schema: object, path: str, namespace: str) -> Shape:
        if isinstance(schema, str):
            return self._reference(schema, path, namespace)
        if isinstance(schema, list):
            branches = tuple(self.read(branch, path, namespace) for branch in schema)
            return Shape("union", branches=branches)
        if not isinstance(schema, dict) or "type" not in schema:
            message = f"{schema!r:.60} is no Avro type"
            raise NotAvroError(path, message, 'give a name, a list, or an object with "type"')
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.read(kind, path, namespace)
        if kind in NAMED:
            return self._named(kind, schema, path, namespace)
        if kind in {"array", "map"}:
            key = "items" if kind == "array" else "values"
            inner = self.read(_need(schema, key, path), f"{path}[]", namespace)
            return Shape(kind, inner=inner)
        shape = self._reference(kind, path, namespace)
        if shape.kind in PRIMITIVES:
            _logical(shape, schema, path)
        return shape

    def _reference(self, name: str, path: str, namespace: str) -> Shape:
        if name in PRIMITIVES:
            return Shape(name)
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        found = self.names.get(full) or self.names.get(name)
        if found is None:
            message = f"there is no type {name!r}"
            raise NotAvroError(path, message, "spell it as Avro does, or define it before its use")
        return found

    def _named(self, kind: str, schema: dict[str, Any], path: str, namespace: str) -> Shape:
        given = str(_need(schema, "name", path))
        if "." not in given:
            space = str(schema.get("namespace", namespace))
            given = f"{space}.{given}" if space else given
        for part in given.split("."):
            _check_name(part, path)
        if given in self.names:
            message = f"the type {given} is defined twice"
            raise NotAvroError(path, message, "define it once and refer to it by its name")
        shape = self.names[given] = Shape(kind, given)
        if kind == "record":
            shape.fields = self._fields(schema, path, given.rpartition(".")[0])
        elif kind == "enum":
            _symbols(shape, schema, path)
        else:
            shape.size = _whole(schema, "size", path)
            _logical(shape, schema, path)
        return shape

    def _fields(self, schema: dict[str, Any], path: str, namespace: str) -> tuple[Field, ...]:
        found: list[Field] = []
        for entry in _need(schema, "fields", path):
            if not isinstance(entry, dict):
                message = f"{entry!r:.60} is no field"
                raise NotAvroError(path, message, 'give an object with "name" and "type"')
            name = str(_need(entry, "name", path))
            here = below(path, name)
            _check_name(name, here)
            if any(name == other.name for other in found):
                raise NotAvroError(here, "the field is there twice", "delete one of the two")
            aliases = entry.get("aliases", [])
            if not isinstance(aliases, list):
                raise NotAvroError(here, "its aliases are no list", 'write "aliases": ["name"]')
            found.append(Field(
                name, self.read(_need(entry, "type", here), here, namespace),
                entry.get("default", NO_DEFAULT), tuple(map(str, aliases)),
                str(entry.get("doc", "")),
            ))
        return tuple(found)


def _need(schema: dict[str, Any], key: str, path: str) -> Any:
    value = schema.get(key)
    if value is None or (key in {"fields", "symbols"} and not isinstance(value, list)):
        what = schema.get("type") or "field"
        message = f"a {what!r:.40} without a proper {key!r}"
        raise NotAvroError(path, message, f'add "{key}"')
    return value


def _check_name(name: str, path: str) -> None:
    if not _NAME.fullmatch(name):
        message = f"{name!r} is no name in Avro"
        raise NotAvroError(path, message, "use letters, digits and _, not a digit first")


def _symbols(shape: Shape, schema: dict[str, Any], path: str) -> None:
    shape.symbols = tuple(map(str, _need(schema, "symbols", path)))
    for symbol in shape.symbols:
        _check_name(symbol, path)
    if len(set(shape.symbols)) != len(shape.symbols):
        raise NotAvroError(path, "a symbol is there twice", "delete one of the two")
    fallback = schema.get("default")
    shape.fallback = None if fallback is None else str(fallback)


def _logical(shape: Shape, schema: dict[str, Any], path: str) -> None:
    shape.logical = str(schema.get("logicalType", ""))
    if shape.logical == "decimal":
        shape.precision = _whole(schema, "precision", path)
        shape.scale = _whole(schema, "scale", path) if "scale" in schema else 0
        if not shape.precision or shape.scale > shape.precision:
            message = f"decimal({shape.precision}, {shape.scale}) cannot be"
            raise NotAvroError(path, message, "precision is above 0, scale at most precision")


def _whole(schema: dict[str, Any], key: str, path: str) -> int:
    value = _need(schema, key, path)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        message = f"{key} is {value!r:.40}, not a whole number"
        raise NotAvroError(path, message, f"write {key} as a number")
    return value
