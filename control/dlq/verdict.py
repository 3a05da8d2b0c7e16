"""Whether a letter may be replayed or discarded. A decision is a value; nothing is done here."""

from dataclasses import dataclass
from enum import StrEnum

from control.dlq.letter import Letter, State
from udfs.reasons import Stage

# The first try, and two after something was mended. What fails a third time is not mended.
MOST_ATTEMPTS = 3

# `reference` has its own command: `sluice tenants`.
_STAGES = (Stage.INGEST, Stage.TIMESCALE, Stage.SEARCH)

# Of the record around the payload: the header, the letter's name, the attempt, the length.
_AROUND = 64


class Verdict(StrEnum):
    """What happens to a letter that was asked for."""

    TAKEN = "taken"
    DONE = "already_done"
    ON_ITS_WAY = "on_its_way"
    UNKNOWN = "unknown"
    DISCARDED = "discarded"
    REPLAYED = "replayed"
    ATTEMPTS = "too_many_attempts"
    OTHER_STAGE = "other_stage"
    TOO_LARGE = "too_large"

    @property
    def description(self) -> str:
        """Why, for a person."""
        return _DESCRIPTIONS[self.value]

    @property
    def is_refusal(self) -> bool:
        """Whether a person who named this letter must be told no."""
        return self not in (Verdict.TAKEN, Verdict.DONE)


_DESCRIPTIONS = {
    "taken": "will be done",
    "already_done": "done already: nothing is left to do",
    "on_its_way": "another replay has it in its hands",
    "unknown": "nobody can tell any more whether it was sent; --force takes the risk of twice",
    "discarded": "discarded; --force replays it all the same",
    "replayed": "replayed already; if it was refused again, a new letter tells",
    "too_many_attempts": f"tried {MOST_ATTEMPTS} times or more; --force tries once more",
    "other_stage": "of a stage that this version of sluice cannot replay",
    "too_large": "larger than SLUICE_INGEST_MAX_BYTES or events.raw take: refused again for sure",
}


@dataclass(frozen=True)
class ReplayRules:
    """What decides about a replay."""

    force: bool
    # The largest message that ingest and events.raw both take.
    max_bytes: int

    def judge(self, letter: Letter, state: State) -> Verdict:  # noqa: PLR0911 - one for each
        """Tell whether a letter is sent."""
        if state is State.REPLAYED:
            return Verdict.DONE
        if state is State.REPLAYING:
            return Verdict.ON_ITS_WAY
        if letter.stage not in _STAGES:
            return Verdict.OTHER_STAGE
        if letter.stage == Stage.INGEST and letter.size + _AROUND > self.max_bytes:
            return Verdict.TOO_LARGE
        if self.force:
            return Verdict.TAKEN
        if state is State.UNKNOWN:
            return Verdict.UNKNOWN
        if state is State.DISCARDED:
            return Verdict.DISCARDED
        if letter.attempt + 1 > MOST_ATTEMPTS:
            return Verdict.ATTEMPTS
        return Verdict.TAKEN


@dataclass(frozen=True)
class DiscardRules:
    """What decides about discarding."""

    def judge(self, letter: Letter, state: State) -> Verdict:  # noqa: ARG002 - as ReplayRules
        """Tell whether a letter is marked."""
        return {
            State.DISCARDED: Verdict.DONE, State.REPLAYED: Verdict.REPLAYED,
            State.REPLAYING: Verdict.ON_ITS_WAY,
        }.get(state, Verdict.TAKEN)


Rules = ReplayRules | DiscardRules
