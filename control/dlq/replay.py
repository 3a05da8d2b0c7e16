"""Send letters through their stage again, each once, whatever happens on the way.

Letters of a sink are written into its store (control/dlq/rewrite.py). Those of ingest go to
events.raw, for each batch like this: the intention goes to the database, with the
ends of events.raw; then the batch goes to Kafka in one transaction; then the intention becomes a
fact. A run that is cut off leaves one intention, and the next run settles it
(control/dlq/settle.py).
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from kafka.errors import KafkaError

from control.db.lease import Lease
from control.dlq.book import LEASE_SECONDS, Book
from control.dlq.fault import Point
from control.dlq.letter import Letter
from control.dlq.plan import Plan
from control.dlq.rewrite import STORES, Rewriter
from control.dlq.sender import ReplaySender, ReplayWriter
from control.dlq.source import Found, Letters
from control.dlq.verdict import Rules, Verdict
from control.errors import SluiceError
from control.events.interruption import Interruption
from control.events.pace import Pace
from control.fault import fault
from udfs.reasons import Stage

# What a crash leaves to be settled, and how often progress is durable.
_BATCH_LETTERS = 500
_BATCH_BYTES = 8 * 2**20


@dataclass
class Outcome:
    """What was sent so far."""

    operation: str
    sent: int = 0
    # By a store, which had refused them before.
    refused: int = 0
    # Since the plan was made: letters that are gone, or that somebody acted upon.
    left_out: Counter[Verdict] = field(default_factory=Counter)
    gone: int = 0
    interrupted: bool = False


class Replay:
    """One run of `sluice dlq replay`, after it was planned and agreed to."""

    def __init__(
        self, book: Book, letters: Letters, sender: ReplaySender, writer: ReplayWriter,
        rewriter: Rewriter, held: Lease, rules: Rules, wish: Interruption,
    ) -> None:
        self._book = book
        self._letters = letters
        self._sender = sender
        self._writer = writer
        self._rewriter = rewriter
        self._held = held
        self._rules = rules
        self._wish = wish
        self._renewed = time.monotonic()

    def run(
        self, plan: Plan, rate: float | None, report: Callable[[Outcome], None]
    ) -> Outcome:
        """Send the letters of a plan."""
        outcome = Outcome(self._book.begin("replay"))
        try:
            self._run(plan, rate, outcome, report)
        except (KafkaError, psycopg.OperationalError, KeyboardInterrupt) as error:
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            message = (
                f"Cut off after {outcome.sent:,} letters: {said}."
                " Of the batch under way it is not known yet whether it was sent."
            )
            hint = "Run the command again: it finds that out first, and sends nothing twice."
            raise SluiceError(message, hint) from error
        return outcome

    def _run(
        self, plan: Plan, rate: float | None, outcome: Outcome, report: Callable[[Outcome], None]
    ) -> None:
        pace = Pace(rate)
        # At a low rate a batch is what falls due in a second: its transaction is short then, too.
        most = _BATCH_LETTERS if rate is None else max(1, min(_BATCH_LETTERS, int(rate)))
        batch: list[Found] = []
        size = 0
        for found in self._letters.named(plan.ids):
            if not self._turn(pace):
                outcome.interrupted = True
                break
            batch.append(found)
            size += len(found[1])
            if len(batch) >= most or size >= _BATCH_BYTES:
                self._send(batch, outcome)
                report(outcome)
                batch, size = [], 0
        else:
            self._send(batch, outcome)
            done = outcome.sent + outcome.refused + outcome.left_out.total()
            outcome.gone = plan.count - done
            report(outcome)

    def _turn(self, pace: Pace) -> bool:
        """Wait until the next letter may leave; False when somebody wants to stop."""
        while not self._wish.asked:
            if time.monotonic() - self._renewed > LEASE_SECONDS / 3:
                self._keep_lease()
            if pace.take(1):
                return not self._wish.asked
        return False

    def _keep_lease(self) -> None:
        self._book.renew(self._held)
        self._renewed = time.monotonic()

    def _send(self, batch: list[Found], outcome: Outcome) -> None:
        # The plan may be minutes old.
        states = self._book.states([letter for letter, _ in batch])
        verdicts = {
            letter.id: self._rules.judge(letter, states[letter.id]) for letter, _ in batch
        }
        outcome.left_out.update(
            verdict for verdict in verdicts.values() if verdict is not Verdict.TAKEN
        )
        taken = [found for found in batch if verdicts[found[0].id] is Verdict.TAKEN]
        for stage in STORES:
            self._write_again(stage, [one for one in taken if one[0].stage == stage], outcome)
        self._send_again([one for one in taken if one[0].stage == Stage.INGEST], outcome)

    def _write_again(self, stage: Stage, taken: list[Found], outcome: Outcome) -> None:
        if not taken:
            return
        accepted = self._rewriter.write(stage, [payload for _, payload in taken])
        written = [letter for (letter, _), good in zip(taken, accepted, strict=True) if good]
        self._book.note_written(self._held, outcome.operation, written)
        outcome.sent += len(written)
        outcome.refused += len(taken) - len(written)

    def _send_again(self, taken: list[Found], outcome: Outcome) -> None:
        if not taken:
            return
        letters = [letter for letter, _ in taken]
        messages = [
            (_key(letter), self._writer.write(letter, payload)) for letter, payload in taken
        ]
        self._book.intend(self._held, outcome.operation, letters, self._sender.ends())
        fault(Point.INTENDED)
        try:
            self._sender.begin(messages)
            fault(Point.SENT)
            # Whoever has taken the lease over has settled this batch already.
            self._keep_lease()
            self._sender.commit()
        except BaseException:
            self._sender.give_up()
            raise
        fault(Point.COMMITTED)
        self._book.mark_replayed(outcome.operation, [letter.id for letter in letters])
        fault(Point.MARKED)
        outcome.sent += len(letters)


def _key(letter: Letter) -> bytes:
    return (letter.tenant_id or str(letter.id)).encode()
