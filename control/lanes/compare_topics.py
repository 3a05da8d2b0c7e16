"""Compare what two runs of a job have committed to a topic."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from control.events.decoding import Decoding
from control.events.reader import Reader, Record, Spans
from control.events.render import hexadecimal, pairs, printable
from control.lanes.findings import OutputFindings
from control.lanes.sides import Side, digest_of, digest_of_fields
from control.reconcile.findings import SAMPLES, Kind
from control.reconcile.span import Span
from jobs.spec import Output

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The clocks of two brokers differ a little: reading begins a little earlier than the span.
_SLACK_MILLIS = 60_000
_REPORT_EVERY = 20_000
_SHOWN_BYTES = 24


@dataclass(frozen=True)
class _Written:
    """One side of a comparison, and where it lies."""

    topic: str
    spans: Spans
    is_shadow: bool


@dataclass(frozen=True)
class _Item:
    """A record that counts, or that one of the span may be the same as."""

    record: Record
    key: bytes
    in_span: bool
    # What makes it the same one as another, for a person; None: nothing but its value does.
    identity: dict[str, Any] | None = None
    content: bytes = b""

    def add_to(self, side: Side) -> None:
        """Put it on a side."""
        if self.identity is None:
            side.add_whole(self.key)
        else:
            side.add(self.record, self.key, self.content)

    @property
    def title(self) -> str:
        """How it is called in a sample."""
        if self.identity is None:
            value = self.record.value
            shown = "no value" if value is None else hexadecimal(value, _SHOWN_BYTES) or "empty"
            return f"partition {self.record.partition}, offset {self.record.offset}: {shown}"
        if len(self.identity) == 1:
            return printable(str(next(iter(self.identity.values()))))
        return printable(pairs(self.identity))


class TopicComparison:
    """Compares a live topic with its shadow; memory grows with identities, not with records."""

    def __init__(
        self, reader: Reader, decoding: Decoding, output: Output, span: Span,
        say: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._decoding = decoding
        self._output = output
        self._span = span
        self._say = say

    def run(self, shadow_topic: str) -> OutputFindings:
        """Read both; what differs is read once more, to call it by its name."""
        output = self._output
        since = max(0, self._span.first // 1000 - _SLACK_MILLIS)
        live = _Written(
            output.name, self._reader.spans(output.name, since=since), is_shadow=False
        )
        shadow = _Written(shadow_topic, self._reader.spans(shadow_topic), is_shadow=True)
        ours, ours_too = self._read(live)
        theirs, theirs_too = self._read(shadow)
        only_live, only_shadow = theirs_too.lacks(ours), ours_too.lacks(theirs)
        different = ours.changed(theirs_too)
        return OutputFindings(
            output.title, len(ours), len(theirs), self._kind(only_live, live),
            self._kind(only_shadow, shadow), self._kind(different, live),
        )

    def _read(self, written: _Written) -> tuple[Side, Side]:
        """Return what a side has of the span, and all of it that one of the span may be.

        A record that tells its own time has the same on both sides. Where only Kafka's tells, a
        shadow wrote the same record at another time.
        """
        side = Side()
        whole = side if self._output.time else Side()
        for item in self._items(written):
            if item.in_span:
                item.add_to(side)
            if whole is not side:
                item.add_to(whole)
        return side, whole

    def _kind(self, found: Counter[bytes], written: _Written) -> Kind:
        wanted = set(islice(found, SAMPLES))
        names: list[str] = []
        if wanted:
            for item in self._items(written):
                if item.key in wanted:
                    wanted.remove(item.key)
                    names.append(item.title)
                    if not wanted:
                        break
        return Kind(found.total(), sorted(names))

    def _items(self, written: _Written) -> Iterator[_Item]:
        """Yield what a side has of the span."""
        total = sum(end - first for first, end in written.spans.values())
        for seen, record in enumerate(self._reader.between(written.topic, written.spans), 1):
            if seen % _REPORT_EVERY == 0:
                self._say(f"{written.topic}: {seen:,} of about {total:,} messages read")
            item = self._item(record, is_shadow=written.is_shadow)
            if item is not None:
                yield item

    def _item(self, record: Record, *, is_shadow: bool) -> _Item | None:
        output = self._output
        fields = self._fields(record)
        if fields is None:
            # Nobody knows when this was written, but for the live topic's broker. A shadow is
            # written at another time: all that it holds is of the span.
            in_span = (is_shadow and bool(output.time)) or self._span.holds(
                record.timestamp * 1000
            )
            return self._kept(_Item(record, digest_of(record.value), in_span))
        if output.whose and fields[output.whose] not in output.own:
            return None
        moment = _micros(fields[output.time]) if output.time else record.timestamp * 1000
        in_span = self._span.holds(moment)
        if not output.identity:
            return self._kept(_Item(record, digest_of(record.value), in_span))
        identity = {name: fields[name] for name in output.identity}
        content = {name: value for name, value in fields.items() if name not in output.of_the_run}
        return self._kept(_Item(
            record, digest_of_fields(identity), in_span, identity, digest_of_fields(content)
        ))

    def _kept(self, item: _Item) -> _Item | None:
        return item if item.in_span or not self._output.time else None

    def _fields(self, record: Record) -> dict[str, Any] | None:
        """Return a record's fields; None if it lacks one of those that are needed, or all."""
        output = self._output
        needed = [*output.identity, *filter(None, (output.time, output.whose))]
        if not needed:
            return None
        fields = self._decoding.decode(record.value).fields
        if fields is None or any(fields.get(name) is None for name in needed):
            return None
        return fields


def _micros(value: Any) -> int:
    """Return a field's time; numbers are microseconds since 1970 already."""
    return (value - _EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value
