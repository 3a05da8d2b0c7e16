"""What `ingest` does with one message, without Flink: clean, or refuse with a reason."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from udfs.cleaner import CleanEncoder, Cleaner, Tenant
from udfs.contract import Contract, Domain, Schema
from udfs.decoder import DEFAULT_MAX_BYTES, Decoder, Form
from udfs.letters import Known, LetterWriter, Origin
from udfs.reasons import Reason, RejectedError, Stage
from udfs.rules import TimeLimits, rules_of
from udfs.transcoder import Transcoder, compile_transcoder
from udfs.wire import HEADER_SIZE


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


class Cleaned(NamedTuple):
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
        self._contract = contract
        self._ids = ids
        self._rules = rules
        # By the header, which names the schema; None where there is no short way.
        self._short: dict[bytes, Transcoder | None] = {}
        self._encoder = CleanEncoder(contract, ids.clean)
        self._letters = LetterWriter(contract, ids.dead_letter, Stage.INGEST)
        self._late = int(rules.late_seconds * 1_000_000)
        self._topic = topic

    def process(
        self, message: bytes, received: int, now: int, tenant: Callable[[str], Tenant | None]
    ) -> Cleaned | Refused:
        """Clean or refuse a message; times are microseconds since 1970."""
        short = self._short.get(message[:HEADER_SIZE])
        if short is not None and len(message) <= self._rules.max_bytes:
            found = short(message, received, now, tenant)
            if found is not None:
                return Cleaned(*found, received - found[2] > self._late)
        return self.judge(message, received, now, tenant)

    def judge(
        self, message: bytes, received: int, now: int, tenant: Callable[[str], Tenant | None]
    ) -> Cleaned | Refused:
        """Clean or refuse a message the long way, which says why."""
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
            if message[:HEADER_SIZE] not in self._short:
                self._short[message[:HEADER_SIZE]] = self._transcoder(form, form.domain)
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

    def _transcoder(self, form: Form, domain: Domain) -> Transcoder | None:
        rules, _ = self._steps[domain.record]
        return compile_transcoder(
            domain, rules, self._rules.times, form.written, form.version, self._contract.clean,
            self._ids.clean,
        )


_KNOWN = ("event_id", "tenant_id", "correlation_id")
