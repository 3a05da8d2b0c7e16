"""What `ingest` does with one message, without Flink: clean, or refuse with a reason."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from udfs.cleaner import CleanEncoder, Cleaner, Tenant
from udfs.contract import Contract, Schema
from udfs.decoder import DEFAULT_MAX_BYTES, Decoder
from udfs.letters import Known, LetterWriter, Origin
from udfs.reasons import Reason, RejectedError, Stage
from udfs.rules import TimeLimits, rules_of


@dataclass(frozen=True)
class IngestRules:
    """What an operator can set about `ingest`'s judgement."""

    max_bytes: int = DEFAULT_MAX_BYTES
    times: TimeLimits = field(default_factory=TimeLimits)
    # An event that the broker took later than this after it happened counts as late.
    late_seconds: float = 60


@dataclass(frozen=True)
class SchemaIds:
    """The ids under which the registry has what `ingest` writes."""

    clean: int
    dead_letter: int


@dataclass(frozen=True)
class Cleaned:
    """A message that goes on."""

    # Sixteen bytes: the memory of ids is what `ingest` keeps most of.
    event_id: bytes
    tenant_id: str
    occurred_at: int
    message: bytes
    late: bool


@dataclass(frozen=True)
class Refused:
    """A message that does not, with its dead letter."""

    reason: Reason
    letter: bytes


class Ingestion:
    """Judges messages one by one; it keeps nothing but what it is told of tenants."""

    def __init__(
        self, contract: Contract, ids: SchemaIds, schema: Callable[[int], Schema],
        rules: IngestRules, topic: str,
    ) -> None:
        self._decoder = Decoder(contract, schema, rules.max_bytes)
        self._steps = {
            domain.record: (rules_of(domain, rules.times), Cleaner(domain, contract.clean))
            for domain in contract.domains.values()
        }
        self._encoder = CleanEncoder(contract, ids.clean)
        self._letters = LetterWriter(contract, ids.dead_letter, Stage.INGEST)
        self._late = int(rules.late_seconds * 1_000_000)
        self._topic = topic

    def process(
        self, message: bytes, received: int, now: int, tenant: Callable[[str], Tenant | None]
    ) -> Cleaned | Refused:
        """Clean or refuse a message; times are microseconds since 1970."""
        letter: str | None = None
        attempt = 1
        event: dict[str, Any] = {}
        try:
            form, event = self._decoder.decode(message)
            if form.domain is None:
                letter, attempt, message = event["letter"], event["attempt"], event["payload"]
                event = {}
                form, event = self._decoder.decode(message)
                if form.domain is None:
                    raise RejectedError(Reason.WRONG_RECORD, "a replay within a replay")
            rules, cleaner = self._steps[form.domain.record]
            for rule in rules:
                if (complaint := rule(event, received)) is not None:
                    raise RejectedError(*complaint)
        except RejectedError as error:
            known = Known(*(event.get(name) for name in _KNOWN))
            origin = Origin(self._topic, received, letter, attempt)
            return Refused(
                error.reason, self._letters.letter(message, error, origin, now, known)
            )
        late = received - event["occurred_at"] > self._late
        clean = cleaner.clean(event, form.version, received, now, tenant(event["tenant_id"]))
        return Cleaned(
            bytes.fromhex(clean["event_id"].replace("-", "")), clean["tenant_id"],
            clean["occurred_at"], self._encoder.encode(clean), late,
        )


_KNOWN = ("event_id", "tenant_id", "correlation_id")
