"""What ingest does with one message: no server, no Flink."""

import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from io import BytesIO
from itertools import islice
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.events.encoder import Encoder
from control.events.traffic import Shares, Traffic
from tests.kit.mutation import mutate
from tests.unit.event_kit import NOW, Ids, contract, generator
from udfs.cleaner import Tenant, rescale
from udfs.contract import Contract, Domain, Schema, full_name
from udfs.ingestion import Cleaned, Ingestion, IngestRules, Refused, SchemaIds
from udfs.physical import parse_physical
from udfs.reasons import Reason, RejectedError
from udfs.record_writer import compile_writer
from udfs.wire import frame

SECOND = 1_000_000


class Bench:
    """An Ingestion with a registry in memory."""

    def __init__(self, rules: IngestRules | None = None, known: Contract | None = None) -> None:
        self.ids = Ids()
        self.contract = known or contract()
        self.encoder = Encoder(self.contract, self.ids.register)
        self.clean_id = self.ids.register(self.contract.clean)
        self.letter_id = self.ids.register(self.contract.dead_letter)
        self.replay_id = self.ids.register(self.contract.replay)
        self.ingestion = Ingestion(
            self.contract, SchemaIds(self.clean_id, self.letter_id), self._schema,
            rules or IngestRules(), "events.raw",
        )
        self.tenants: dict[str, Tenant] = {}

    def _schema(self, number: int) -> Schema:
        if number not in self.ids.schemas:
            raise RejectedError(Reason.UNKNOWN_SCHEMA, f"no schema {number}")
        return self.ids.schemas[number]

    def process(self, message: bytes, received: int = NOW) -> Cleaned | Refused:
        return self.ingestion.process(message, received, received + 5, self.tenants.get)

    def clean(self, message: bytes, received: int = NOW) -> dict[str, Any]:
        result = self.process(message, received)
        assert isinstance(result, Cleaned), result
        return self.ids.decode(result.message)[1]

    def letter(self, message: bytes, received: int = NOW) -> dict[str, Any]:
        result = self.process(message, received)
        assert isinstance(result, Refused), result
        letter = self.ids.decode(result.letter)[1]
        assert letter["reason"] == result.reason
        return letter

    def encode(self, domain: str, version: int | None = None, **changes: Any) -> bytes:
        """Return a sound event of a domain, in one version, with some fields changed."""
        events = (generator(seed).event() for seed in range(1000))
        event = next(
            event for event in events if event.domain.name == domain
            and version in {None, event.version}
        )
        body = {**event.body, "occurred_at": NOW - SECOND, **changes}
        return self.encoder.encode(replace(event, body=body))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_version_becomes_the_newest_form(bench: Bench) -> None:
    for domain in bench.contract.domains.values():
        for version in range(1, len(domain.versions) + 1):
            clean = bench.clean(bench.encode(domain.name, version))
            assert clean["schema_version"] == version
            assert clean["domain"] == domain.name
            assert clean["received_at"].timestamp() * SECOND == NOW
            assert (clean["cleaned_at"] - clean["received_at"]).microseconds == 5


def test_a_renamed_field_and_a_widened_one_arrive(bench: Bench) -> None:
    clean = bench.clean(bench.encode("transaction", 1, merchant="bakery", risk=7))
    assert clean["text"] == "bakery"
    assert clean["attributes"]["risk"] == "7.0"
    assert "merchant" not in clean["attributes"]


def test_amounts_stay_exact(bench: Bench) -> None:
    for amount in ("0.00", "0.01", "1.27", "1.28", "327.67", "327.68", "9999999999999999.99"):
        unscaled = int(Decimal(amount).scaleb(2))
        raw = unscaled.to_bytes((unscaled.bit_length() + 8) // 8, "big", signed=True)
        clean = bench.clean(bench.encode("transaction", amount=raw))
        assert clean["amount"] == Decimal(amount)


@given(st.integers(-10**18, 10**18), st.integers(0, 4))
def test_rescaling_is_exact(number: int, places: int) -> None:
    raw = number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)
    assert int.from_bytes(rescale(raw, places), "big", signed=True) == number * 10**places


def test_errors_texts_and_attributes(bench: Bench) -> None:
    clean = bench.clean(bench.encode("system", severity="ERROR", message="disk is full"))
    assert clean["is_error"]
    assert clean["text"] == "disk is full"
    assert clean["severity"] == "ERROR"
    assert not bench.clean(bench.encode("system", severity="INFO"))["is_error"]


def test_a_known_tenant_is_named(bench: Bench) -> None:
    bench.tenants["acme"] = Tenant("Acme", "team", "eu")
    clean = bench.clean(bench.encode("user", tenant_id="acme"))
    assert (clean["tenant_name"], clean["tenant_tier"], clean["tenant_region"]) == (
        "Acme", "team", "eu"
    )
    assert bench.clean(bench.encode("user", tenant_id="other"))["tenant_name"] is None


def test_ids_are_written_in_one_form(bench: Bench) -> None:
    upper = "0A1B2C3D-1111-4222-8333-444455556666"
    message = bench.encode("user", event_id=upper)
    assert str(bench.clean(message)["event_id"]) == upper.lower()
    result = bench.process(message)
    assert isinstance(result, Cleaned)
    assert result.event_id.hex() == upper.lower().replace("-", "")


@pytest.mark.parametrize(("changes", "reason", "detail"), [
    ({"tenant_id": ""}, Reason.MISSING_FIELD, "tenant_id"),
    ({"entity_id": ""}, Reason.MISSING_FIELD, "entity_id"),
    ({"source": ""}, Reason.MISSING_FIELD, "source"),
    ({"event_id": "x"}, Reason.BAD_UUID, "event_id"),
    ({"event_id": "0a1b2c3d-1111-4222-8333-44445555666g"}, Reason.BAD_UUID, "event_id"),
    ({"event_id": "0a1b2c3d-1111-4222-8333-444455556666\n"}, Reason.BAD_UUID, "event_id"),
    ({"correlation_id": ""}, Reason.BAD_UUID, "correlation_id"),
    ({"causation_id": "none"}, Reason.BAD_UUID, "causation_id"),
    ({"event_type": "transaction.eaten"}, Reason.UNKNOWN_EVENT_TYPE, "transaction.eaten"),
    ({"event_type": "user.updated"}, Reason.UNKNOWN_EVENT_TYPE, "user.updated"),
    ({"amount": b"\xff"}, Reason.BAD_AMOUNT, "negative"),
    ({"currency": "eur"}, Reason.BAD_AMOUNT, "eur"),
    ({"currency": "EURO"}, Reason.BAD_AMOUNT, "EURO"),
    ({"occurred_at": NOW - 366 * 86_400 * SECOND}, Reason.TOO_OLD, "366 days"),
    ({"occurred_at": NOW + 3601 * SECOND}, Reason.TOO_FAR_AHEAD, "3,601 s"),
])
def test_rules(bench: Bench, changes: dict[str, Any], reason: Reason, detail: str) -> None:
    letter = bench.letter(bench.encode("transaction", **changes))
    assert letter["reason"] == reason
    assert detail in letter["detail"]
    assert letter["payload"] == bench.encode("transaction", **changes)
    assert letter["retriable"] == reason.retriable
    # What could be read is there, for whoever looks for it.
    assert letter["tenant_id"] == changes.get("tenant_id", letter["tenant_id"])


@pytest.mark.parametrize("at", [NOW - 364 * 86_400 * SECOND, NOW + 3599 * SECOND])
def test_times_within_the_limits_pass(bench: Bench, at: int) -> None:
    assert bench.clean(bench.encode("user", occurred_at=at))


def test_the_verdict_goes_by_the_time_of_receipt(bench: Bench) -> None:
    message = bench.encode("user", occurred_at=NOW)
    later = NOW + 400 * 86_400 * SECOND
    assert bench.letter(message, later)["reason"] == "too_old"
    assert bench.clean(message, NOW)


def test_late_events_are_marked(bench: Bench) -> None:
    late = bench.process(bench.encode("user", occurred_at=NOW - 61 * SECOND))
    on_time = bench.process(bench.encode("user", occurred_at=NOW - 59 * SECOND))
    assert isinstance(late, Cleaned)
    assert isinstance(on_time, Cleaned)
    assert (late.late, on_time.late) == (True, False)


@pytest.mark.parametrize(("message", "reason"), [
    (b"", Reason.EMPTY),
    (b"\x00\x00\x00", Reason.NOT_WIRE_FORMAT),
    (b"\x01\x00\x00\x00\x01abc", Reason.NOT_WIRE_FORMAT),
    (b"\x00\x00\x0f\xff\xffabc", Reason.UNKNOWN_SCHEMA),
    (b"\x00\xff\xff\xff\xffabc", Reason.UNKNOWN_SCHEMA),
    (bytes(2**20 + 1), Reason.TOO_LARGE),
])
def test_bytes_that_are_no_event(bench: Bench, message: bytes, reason: Reason) -> None:
    letter = bench.letter(message)
    assert letter["reason"] == reason
    assert letter["payload"] == message


def test_truncated_and_trailing_bytes(bench: Bench) -> None:
    sound = bench.encode("system")
    for end in range(5, len(sound)):
        assert bench.letter(sound[:end])["reason"] == "undecodable"
    assert "1 bytes" in bench.letter(sound + b"x")["detail"]


def test_a_registered_record_that_is_no_event(bench: Bench) -> None:
    message = bench.encoder.encode_tenant(
        {"tenant_id": "a", "name": None, "tier": None, "region": None, "deleted": False}
    )
    letter = bench.letter(message)
    assert letter["reason"] == "wrong_record"
    assert "sluice.reference.Tenant" in letter["detail"]


def _replay(bench: Bench, payload: bytes, letter: str = "2:77", attempt: int = 2) -> bytes:
    write = compile_writer(bench.contract.replay)
    return frame(
        bench.replay_id, write({"letter": letter, "attempt": attempt, "payload": payload})
    )


def test_a_replayed_letter_passes_as_if_it_came_the_first_time(bench: Bench) -> None:
    message = bench.encode("user")
    assert bench.clean(_replay(bench, message)) == bench.clean(message)


def test_a_replayed_letter_that_is_refused_again_keeps_its_history(bench: Bench) -> None:
    message = bench.encode("user", tenant_id="")
    letter = bench.letter(_replay(bench, message))
    assert letter["payload"] == message
    assert (letter["attempt"], letter["replay_of"]) == (2, "2:77")
    assert letter["reason"] == "missing_field"


def test_a_replayed_letter_is_held_to_the_limit_without_its_wrapping() -> None:
    bench = Bench(IngestRules(max_bytes=600))
    exact = bench.encode("system", message="")
    exact = bench.encode("system", message="x" * (600 - len(exact)))[:600]
    assert len(exact) == 600
    first = bench.process(exact)
    assert type(bench.process(_replay(bench, exact))) is type(first)
    letter = bench.letter(_replay(bench, bytes(700)))
    assert (letter["reason"], letter["payload"]) == ("too_large", bytes(700))
    assert letter["attempt"] == 2


def test_a_replay_within_a_replay_is_refused(bench: Bench) -> None:
    inner = _replay(bench, bench.encode("user"))
    assert bench.letter(_replay(bench, inner))["reason"] == "wrong_record"


def test_a_version_that_only_the_registry_has(bench: Bench) -> None:
    newest = bench.contract.domains["sluice.events.User"].newest
    number = bench.ids.register({
        **newest, "fields": [*newest["fields"], {"name": "mood", "type": "string",
                                                  "default": ""}],
    })
    sound = bench.encode("user", 2)
    message = frame(number, sound[5:] + b"\x06fun")
    assert bench.clean(message)["schema_version"] == 0


@pytest.mark.parametrize("fields", [
    [{"name": "x", "type": {"type": "array", "items": "null"}}],
    [{"name": "x", "type": ["null", {"type": "record", "name": "Again", "fields": [
        {"name": "y", "type": ["null", "Again"]}]}]}],
])
def test_a_schema_that_bytes_could_use_against_us(
    bench: Bench, fields: list[dict[str, Any]]
) -> None:
    newest = bench.contract.domains["sluice.events.User"].newest
    number = bench.ids.register({**newest, "fields": [*newest["fields"], *fields]})
    assert bench.letter(frame(number, b"anything"))["reason"] == "unusable_schema"
    # The second time it is known without looking.
    assert bench.letter(frame(number, b"anything"))["reason"] == "unusable_schema"


def test_a_fourth_domain_needs_no_code() -> None:
    envelope = contract().domains["sluice.events.User"].versions[0]["fields"][:9]
    schema: Schema = {
        "type": "record", "name": "Shipment", "namespace": "sluice.events",
        "fields": [
            *envelope, {"name": "note", "type": "string"}, {"name": "weight", "type": "double"},
            {"name": "destination", "type": "string"},
            {"name": "parcels", "type": {"type": "array", "items": "string"}},
            {"name": "fragile", "type": "boolean"},
        ],
    }
    domain = Domain(
        "shipment", full_name(schema), frozenset({"shipment.sent"}), (schema,), ("note",),
        {"destination": frozenset({"NOWHERE"})}, {"country": "destination"},
    )
    known = contract()
    more = replace(known, domains={**known.domains, domain.record: domain})
    bench = Bench(known=more)
    number = next(key for key, value in bench.ids.schemas.items() if value is schema)
    body = {
        **generator(3).event().body, "event_type": "shipment.sent", "occurred_at": NOW,
        "note": "mind the dog", "weight": 1.5, "destination": "NOWHERE", "parcels": ["a", "b"],
        "fragile": True,
    }
    out = BytesIO()
    fastavro.schemaless_writer(out, parse_physical(schema), body)
    clean = bench.clean(frame(number, out.getvalue()))
    assert clean["domain"] == "shipment"
    assert clean["country"] == "NOWHERE"
    assert clean["is_error"]
    assert clean["text"] == "mind the dog"
    assert clean["attributes"] == {
        "weight": "1.5", "parcels": '["a", "b"]', "fragile": "true",
    }


def test_made_up_traffic_ends_as_its_manifest_says(bench: Bench) -> None:
    shares = Shares(duplicates=0.1, late=0.1, out_of_order=0.1, invalid=0.2, poison=0.2)
    traffic = Traffic(generator(5), bench.encoder, shares, 5)
    counted: Counter[str] = Counter()
    for message in islice(traffic.messages(), 3_000):
        result = bench.process(message.value, NOW + 10 * SECOND)
        if message.kind.expect == "dlq":
            assert isinstance(result, Refused), message
            assert result.reason == message.reason
        else:
            assert isinstance(result, Cleaned), (message, result)
        counted[message.kind.expect] += 1
    assert min(counted["clean"], counted["dlq"], counted["duplicate"]) > 100


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    bench = _SHARED
    for message in (body, b"\x00\x00\x00\x00" + body, frame(1 + len(body) % 7, body)):
        assert isinstance(bench.process(message), Cleaned | Refused)


def test_no_mutation_makes_it_raise() -> None:
    chance = random.Random(1)
    traffic = Traffic(generator(6), _SHARED.encoder, Shares(), 6)
    refused = 0
    for message in islice(traffic.messages(), 4_000):
        result = _SHARED.process(mutate(message.value, chance), NOW + SECOND)
        refused += isinstance(result, Refused)
    assert refused > 1_000


_SHARED = Bench()
