"""The rules by which a record may change: each looks at one type, before and after."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from control.schema.findings import Problem
from control.schema.model import Field, Shape, below

# What a reader of the key's bytes may take them for. Avro would let bytes become text as well;
# old bytes need not be text, though, and such an event could not be read any more.
WIDENS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
}


@dataclass(frozen=True)
class Pair:
    """A type of an older version and what stands in its place in a newer one."""

    path: str
    old: Shape
    new: Shape

    def fields(self) -> Iterator[tuple[Field | None, Field]]:
        """Return each field of the newer record with the one that fills it."""
        if self.old.kind == self.new.kind == "record":
            for field in self.new.fields:
                yield counterpart(field, self.old), field


def counterpart(field: Field, old: Shape) -> Field | None:
    """Return the field of an older record that fills this one: by its name, then by an alias."""
    return next((found for name in field.names if (found := old.field(name))), None)


def branch_for(branch: Shape, new: Shape) -> Shape | None:
    """Return the branch that reads another's bytes: the same type, or the first wider one."""
    same = (choice for choice in new.choices if choice.label == branch.label)
    wider = (choice for choice in new.choices if choice.kind in WIDENS.get(branch.kind, ()))
    return next(same, None) or next(wider, None)


def pairs(old: Shape, new: Shape, path: str = "") -> Iterator[Pair]:
    """Match every type of a newer schema with what it was in an older one."""
    seen: set[tuple[int, int]] = set()

    def visit(before: Shape, after: Shape, here: str) -> Iterator[Pair]:
        if (id(before), id(after)) in seen:
            return
        seen.add((id(before), id(after)))
        pair = Pair(here, before, after)
        yield pair
        if "union" in {before.kind, after.kind}:
            for branch in before.choices:
                match = branch_for(branch, after)
                if match is not None:
                    yield from visit(branch, match, here)
        for was, field in pair.fields():
            if was is not None:
                yield from visit(was.type, field.type, below(here, field.name))
        if before.kind == after.kind and before.inner and after.inner:
            yield from visit(before.inner, after.inner, f"{here}[]")

    return visit(old, new, path)


def names_never_change(pair: Pair) -> Iterator[Problem]:
    """Refuse another name or namespace of a record, enum or fixed: readers find it by them."""
    if pair.old.kind == pair.new.kind and pair.old.name != pair.new.name:
        yield Problem(pair.path, f"{pair.old.name} became {pair.new.name}",
                      f"name it {pair.old.name} again")


def types_only_widen(pair: Pair) -> Iterator[Problem]:
    """Refuse a type that does not hold every value of the one before."""
    old, new = pair.old.kind, pair.new.kind
    if "union" in {old, new} or old == new or new in WIDENS.get(old, ()):
        return
    wider = ", ".join(WIDENS.get(old, ()))
    hint = f"{old} may become {wider}" if wider else f"{old} cannot become anything else"
    yield Problem(pair.path, f"{old} became {new}",
                  f"{hint}; or add a new field with a default beside it")


def logical_types_never_change(pair: Pair) -> Iterator[Problem]:
    """Refuse another meaning of the bytes: a number is another time in other units."""
    if "union" in {pair.old.kind, pair.new.kind} or pair.old.logical == pair.new.logical:
        return
    yield Problem(
        pair.path,
        f"{pair.old.logical or f'a plain {pair.old.kind}'} became"
        f" {pair.new.logical or f'a plain {pair.new.kind}'}",
        "restore the logical type; add a new field with a default for the new one",
    )


def decimals_never_change(pair: Pair) -> Iterator[Problem]:
    """Refuse another precision or scale: a decimal's bytes do not say where its point is."""
    if pair.old.logical != "decimal" or pair.new.logical != "decimal":
        return
    before = (pair.old.precision, pair.old.scale)
    if before != (pair.new.precision, pair.new.scale):
        yield Problem(
            pair.path,
            f"decimal{before} became decimal{(pair.new.precision, pair.new.scale)}",
            f"restore precision {before[0]} and scale {before[1]}; add a new field with a default"
            " for the new one",
        )


def fixed_sizes_never_change(pair: Pair) -> Iterator[Problem]:
    """Refuse another size: a reader takes as many bytes as its own version says."""
    if pair.old.kind == pair.new.kind == "fixed" and pair.old.size != pair.new.size:
        yield Problem(pair.path, f"{pair.old.size} bytes became {pair.new.size}",
                      f"restore size {pair.old.size}, or use bytes in a new field")


def enum_symbols_stay(pair: Pair) -> Iterator[Problem]:
    """Refuse the loss of a symbol: one that was sent once must be readable for ever."""
    if pair.old.kind == pair.new.kind == "enum":
        for symbol in pair.old.symbols:
            if symbol not in pair.new.symbols:
                yield Problem(pair.path, f"the symbol {symbol} is gone",
                              f"put {symbol} back; say in doc that it is no longer sent")


def union_branches_stay(pair: Pair) -> Iterator[Problem]:
    """Refuse the loss of a union's branch; it may widen, and new ones may come."""
    if "union" not in {pair.old.kind, pair.new.kind}:
        return
    for branch in pair.old.choices:
        if branch_for(branch, pair.new) is None:
            yield Problem(pair.path, f"{branch.label} is no longer among its types",
                          f"put {branch.label} back into the list of types")


def required_fields_stay(pair: Pair) -> Iterator[Problem]:
    """Refuse the loss of a field without a default; it may get another name."""
    if not pair.old.kind == pair.new.kind == "record":
        return
    kept = {was.name for was, _ in pair.fields() if was is not None}
    for field in pair.old.fields:
        if field.name not in kept and not field.has_default:
            yield Problem(
                below(pair.path, field.name), "the field is gone, and it is required",
                f'put it back; if it was renamed, add "aliases": ["{field.name}"] to the new field',
            )


def new_fields_have_defaults(pair: Pair) -> Iterator[Problem]:
    """Refuse a new field without a default: older events have nothing to fill it with."""
    for was, field in pair.fields():
        if was is None and not field.has_default:
            yield Problem(
                below(pair.path, field.name), "the new field has no default",
                'make it optional: "type": ["null", ...], "default": null; if it was renamed, add'
                ' its old name to "aliases"',
            )


def renames_are_clear(pair: Pair) -> Iterator[Problem]:
    """Refuse aliases that leave open which older field fills which newer one."""
    filled: dict[str, str] = {}
    for was, field in pair.fields():
        here = below(pair.path, field.name)
        there = [name for name in field.names if pair.old.field(name)]
        if len(there) > 1:
            yield Problem(here, f"both {there[0]} and {there[1]} of the older version would fill"
                          " it", f"delete the alias {there[1]}")
        if was is not None and was.name in filled:
            yield Problem(here, f"{was.name} of the older version would fill {filled[was.name]},"
                          " too", f"let {was.name} be the alias of one field only")
        if was is not None:
            filled[was.name] = field.name


def aliases_stay(pair: Pair) -> Iterator[Problem]:
    """Refuse the loss of an alias: events of before the rename would lose the value silently."""
    for was, field in pair.fields():
        if was is None:
            continue
        lost = [name for name in was.names if name not in field.names]
        for name in lost:
            yield Problem(below(pair.path, field.name), f"the alias {name} is gone",
                          f'add "{name}" to its "aliases" again: older events use that name')


PAIR_RULES: tuple[Callable[[Pair], Iterator[Problem]], ...] = (
    names_never_change,
    types_only_widen,
    logical_types_never_change,
    decimals_never_change,
    fixed_sizes_never_change,
    enum_symbols_stay,
    union_branches_stay,
    required_fields_stay,
    new_fields_have_defaults,
    renames_are_clear,
    aliases_stay,
)
