"""Everything about one letter, gathered, for a person and for a machine."""

from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap
from typing import Any

from control.dlq.advice import advice, described
from control.dlq.book import Action, Book
from control.dlq.letter import Letter, LetterId, State, parse_id
from control.dlq.source import Letters
from control.dlq.verdict import MOST_ATTEMPTS
from control.errors import SluiceError
from control.events.decoding import Decoded, Decoding
from control.events.render import printable

_DUMPED = 128
_LINE = 16
_WIDTH = 100
# Beyond the attempts that are allowed only with --force there may be more.
_MOST_ANCESTORS = 20


@dataclass(frozen=True)
class Ancestor:
    """A letter that was replayed and came back; None where it is gone by retention."""

    id: LetterId
    letter: Letter | None
    actions: list[Action]


@dataclass(frozen=True)
class Page:
    """One letter with what is known around it."""

    letter: Letter
    payload: bytes
    decoded: Decoded
    state: State
    actions: list[Action]
    # The nearest first.
    ancestors: list[Ancestor]


def gather(wanted: LetterId, letters: Letters, book: Book, decoding: Decoding) -> Page:
    """Collect everything about a letter."""
    letter, payload = letters.find(wanted)
    ancestors: list[Ancestor] = []
    following = letter.replay_of
    while following is not None and len(ancestors) < _MOST_ANCESTORS:
        try:
            older, _ = letters.find(parse_id(following))
        except SluiceError:
            # Gone, or written by hand: the chain ends here.
            ancestors.append(Ancestor(_loose_id(following), None, []))
            break
        ancestors.append(Ancestor(older.id, older, book.history(older)))
        following = older.replay_of
    return Page(
        letter, payload, decoding.decode(payload), book.states([letter])[letter.id],
        book.history(letter), ancestors,
    )


def _loose_id(text: str) -> LetterId:
    try:
        return parse_id(text)
    except SluiceError:
        return LetterId(-1, -1)


def as_text(page: Page) -> str:
    """Return a letter for a person."""
    letter = page.letter
    about = {
        "state": f"{page.state}: {page.state.description}",
        "reason": f"{letter.reason}: {described(letter.reason)}",
        "detail": letter.detail,
        "stage": letter.stage,
        "retriable": "yes, after something was mended" if letter.retriable
        else "no: the same bytes will be refused again unless a rule changes",
        "attempt": f"{letter.attempt} of {MOST_ATTEMPTS}",
        "failed at": _time(letter.failed_at),
        "came from": f"{letter.source_topic}, taken there at {_time(letter.source_time)}",
        "event": letter.event_id, "tenant": letter.tenant_id,
        "correlation": letter.correlation_id, "replay of": letter.replay_of,
    }
    lines = [f"Letter {letter.id}, written at {_time(letter.time)}:"]
    for name, value in about.items():
        if value not in (None, ""):
            lines += _wrapped(f"  {name:12} ", printable(str(value)))
    lines += ["", *_payload_lines(page), "", *_history_lines(page), ""]
    return "\n".join([*lines, *_wrapped("To mend it: ", advice(letter.reason))])


def _wrapped(name: str, text: str) -> list[str]:
    return wrap(name + text, _WIDTH, subsequent_indent=" " * len(name), break_on_hyphens=False)


def _payload_lines(page: Page) -> list[str]:
    decoded, size = page.decoded, len(page.payload)
    if decoded.fields is not None:
        lines = [f"Payload: {size:,} bytes, {decoded.record}, schema {decoded.schema_id}:"]
        width = max(map(len, decoded.fields), default=0)
        return lines + [
            f"  {name:{width}}  {printable(_value(value))}".rstrip()
            for name, value in decoded.fields.items()
        ]
    named = "" if decoded.schema_id is None else f", names schema {decoded.schema_id}"
    record = "" if decoded.record is None else f" ({decoded.record})"
    lines = [f"Payload: {size:,} bytes{named}{record}; {printable(decoded.problem or '')}."]
    lines += hexdump(page.payload[:_DUMPED])
    if size > _DUMPED:
        lines.append(f"  ... {size - _DUMPED:,} bytes more; --raw FILE writes all")
    return lines


def hexdump(content: bytes) -> list[str]:
    """Return bytes as lines of numbers and letters."""
    return [
        f"  {start:04x}  {part.hex(' '):{_LINE * 3 - 1}}  "
        + "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)  # noqa: PLR2004
        for start in range(0, len(content), _LINE)
        if (part := content[start:start + _LINE])
    ]


def _history_lines(page: Page) -> list[str]:
    lines = [_action_line("this letter", action) for action in page.actions]
    for ancestor in page.ancestors:
        if ancestor.letter is None:
            lines.append(f"  it came from {ancestor.id}, which is gone")
            continue
        lines.append(
            f"  it came from {ancestor.id}, refused at {_time(ancestor.letter.failed_at)}:"
            f" {printable(ancestor.letter.reason)}"
        )
        lines += [_action_line(str(ancestor.id), action) for action in ancestor.actions]
    return ["History:", *lines] if lines else ["History: nothing was done about it yet."]


def _action_line(what: str, action: Action) -> str:
    attempt = "" if action.attempt is None else f" as attempt {action.attempt}"
    note = f": {printable(action.note)}" if action.note else ""
    return (
        f"  {_time(action.time)}  {what}: {action.action}{attempt} by"
        f" {printable(action.person)}@{printable(action.host)}{note}"
    )


def _time(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else str(value)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bytes):
        return value[:_DUMPED // 2].hex()
    return _time(value) if isinstance(value, datetime) else str(value)


def as_json_object(page: Page) -> dict[str, Any]:
    """Return a letter for a machine."""
    return {
        **letter_json(page.letter, page.state),
        "reason_means": described(page.letter.reason),
        "mend": advice(page.letter.reason),
        "payload": {
            "size": len(page.payload), "schema_id": page.decoded.schema_id,
            "record": page.decoded.record, "problem": page.decoded.problem,
            "fields": None if page.decoded.fields is None else {
                name: plain(value) for name, value in page.decoded.fields.items()
            },
            "hex": page.payload[:_DUMPED].hex(),
        },
        "actions": [_action_json(action) for action in page.actions],
        "ancestors": [
            {
                "letter": str(ancestor.id), "gone": ancestor.letter is None,
                "reason": None if ancestor.letter is None else ancestor.letter.reason,
                "actions": [_action_json(action) for action in ancestor.actions],
            }
            for ancestor in page.ancestors
        ],
    }


def letter_json(letter: Letter, state: State) -> dict[str, Any]:
    """Return what a list says of a letter, for a machine."""
    fields = {name: plain(value) for name, value in vars(letter).items() if name != "id"}
    return {"letter": str(letter.id), "state": state.value, **fields}


def _action_json(action: Action) -> dict[str, Any]:
    return {name: plain(value) for name, value in vars(action).items()}


def plain(value: Any) -> Any:
    """Return a value as JSON has it; an exact amount stays exact as text."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
