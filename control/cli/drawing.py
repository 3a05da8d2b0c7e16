"""A job's operators as a tree in text: each one below what feeds it."""

from collections.abc import Iterator, Mapping, Sequence

from control.lifecycle.graph import Graph, Operator

Row = tuple[str, str, str, str]

COLUMNS = ("operator", "uid", "task", "parallelism")


def draw(graph: Graph) -> list[Row]:
    """Return a line for each operator, in the order in which messages go through them.

    One that several others feed stands once, below the first of them, with a number; below the
    others stands that number. Those with the same task run in one thread.
    """
    known = {one.id: one for one in graph.operators}
    fed: dict[str, list[Operator]] = {one.id: [] for one in graph.operators}
    for one in reversed(graph.operators):
        for above in dict.fromkeys(one.inputs):
            if above in known:
                fed[above].append(one)
    joins = [one for one in reversed(graph.operators) if len(set(one.inputs) & set(known)) > 1]
    drawing = _Drawing(fed, {one.id: f" ({number})" for number, one in enumerate(joins, 1)})
    roots = [one for one in reversed(graph.operators) if not set(one.inputs) & set(known)]
    return [row for root in roots for row in drawing.below(root, "", "")]


class _Drawing:
    """A drawing under way: what was drawn is not drawn again."""

    def __init__(
        self, fed: Mapping[str, Sequence[Operator]], numbers: Mapping[str, str]
    ) -> None:
        self._fed = fed
        self._numbers = numbers
        self._drawn: set[str] = set()
        self._tasks: dict[str, int] = {}

    def below(self, one: Operator, branch: str, indent: str) -> Iterator[Row]:
        """Yield the line of an operator and those of what it feeds."""
        number = self._numbers.get(one.id, "")
        if one.id in self._drawn:
            yield f"{branch}{number.strip()} as above", "", "", ""
            return
        self._drawn.add(one.id)
        task = self._tasks.setdefault(one.vertex, len(self._tasks) + 1)
        yield (f"{branch}{one.name}{number}", one.uid or "none", str(task),
               f"{one.parallelism} of {one.max_parallelism}")
        feeds = self._fed[one.id]
        for place, other in enumerate(feeds, 1):
            last = place == len(feeds)
            yield from self.below(
                other, f"{indent}{'└─ ' if last else '├─ '}", f"{indent}{'   ' if last else '│  '}"
            )
