"""Dead letters: a message that cannot go on, with everything needed to mend and replay it."""

from dataclasses import dataclass

from udfs.contract import Contract
from udfs.reasons import Reason, RejectedError, Stage
from udfs.record_writer import compile_writer
from udfs.wire import frame, schema_id

_LONGEST_DETAIL = 500


@dataclass(frozen=True)
class Origin:
    """Where a message came from."""

    topic: str
    # When the broker took it, in microseconds.
    time: int
    # Of a replayed message: which letter it was, and how often it was tried with this try.
    letter: str | None = None
    attempt: int = 1


@dataclass(frozen=True)
class Known:
    """What could be read of a message before it was refused."""

    event_id: str | None = None
    tenant_id: str | None = None
    correlation_id: str | None = None


NOTHING_KNOWN = Known()


class LetterWriter:
    """Writes dead letters of one stage as Kafka's bytes."""

    def __init__(self, contract: Contract, number: int, stage: Stage) -> None:
        self._write = compile_writer(contract.dead_letter)
        self._number = number
        self._stage = stage

    def letter(
        self, message: bytes, error: RejectedError, origin: Origin, failed_at: int,
        known: Known = NOTHING_KNOWN,
    ) -> bytes:
        """Return the dead letter of a message."""
        reason: Reason = error.reason
        return frame(self._number, self._write({
            "payload": message,
            "reason": reason.value,
            "detail": error.detail[:_LONGEST_DETAIL],
            "stage": self._stage.value,
            "retriable": reason.retriable,
            "attempt": origin.attempt,
            "failed_at": failed_at,
            "source_topic": origin.topic,
            "source_time": origin.time,
            "schema_id": _int(schema_id(message)),
            "event_id": known.event_id,
            "tenant_id": known.tenant_id,
            "correlation_id": known.correlation_id,
            "replay_of": origin.letter,
        }))


def _int(number: int | None) -> int | None:
    # Avro's int is signed; hostile bytes name ids that are not.
    return number if number is None or number < 2**31 else number - 2**32
