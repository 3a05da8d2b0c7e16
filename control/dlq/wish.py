"""Which letters a person asked for."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from control.dlq.letter import Letter, State
from control.errors import MisuseError

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Wish:
    """What a letter must be; without any wish all are."""

    reasons: frozenset[str] = frozenset()
    stage: str | None = None
    tenant: str | None = None
    # When the broker took the letter: from, and before.
    since: datetime | None = None
    until: datetime | None = None
    state: State | None = None
    retriable: bool | None = None
    # The newest so many.
    limit: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Tell whether a letter is asked for, but for its state."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and self.stage in (None, letter.stage)
            and self.tenant in (None, letter.tenant_id)
            and self.retriable in (None, letter.retriable)
            and (self.since is None or letter.time >= self.since)
            and (self.until is None or letter.time < self.until)
        )

    def takes_state(self, state: State) -> bool:
        """Tell whether letters of a state are asked for."""
        if self.state is State.UNKNOWN:
            return state in (State.UNKNOWN, State.REPLAYING)
        return self.state in (None, state)


def parse_moment(text: str, now: datetime) -> datetime:
    """Return a moment written as a time (UTC unless it says otherwise) or as how long ago."""
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        if not text[:4].isdigit():
            raise ValueError(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no time."
        hint = "Write 2026-11-21, 2026-11-21T07:30 (UTC), or how long ago: 90s, 30m, 6h, 7d."
        raise MisuseError(message, hint) from error


def check(wish: Wish) -> None:
    """Refuse a wish that no letter can fulfil."""
    if wish.since is not None and wish.until is not None and wish.since >= wish.until:
        message = "--since is not before --until."
        raise MisuseError(message, "--since is the older of the two.")
