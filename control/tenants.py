"""Reference data of tenants: the latest record of each in the compacted topic counts."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from random import Random

from kafka import KafkaProducer
from kafka.errors import KafkaError

from control.errors import SluiceError
from control.events.chance import Weighted
from control.events.decoding import Decoding
from control.events.event import tenant_id
from control.events.reader import open_reader
from control.events.writers import record_writer
from control.registry import RegistryClient
from control.settings import Settings
from udfs.contract import full_name, load_contract
from udfs.wire import frame

TOPIC = "reference.tenants"

_ACK_SECONDS = 60
_CONNECT_MS = 10_000

_FIRST = ("Amber", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Harbour", "Iris")
_SECOND = ("Foods", "Freight", "Labs", "Media", "Mills", "Motors", "Studio", "Travel")
_TIERS = Weighted(("free", "team", "enterprise"), (60, 30, 10))
_REGIONS = Weighted(("eu-central", "us-east", "ap-south"), (50, 35, 15))


@dataclass(frozen=True)
class Tenant:
    """What is known of a tenant."""

    tenant_id: str
    name: str | None = None
    tier: str | None = None
    region: str | None = None


def read_tenants(settings: Settings) -> dict[str, Tenant]:
    """Return all tenants that are known now, by id."""
    tenants: dict[str, Tenant] = {}
    with (
        RegistryClient(settings.registry_url) as registry,
        open_reader(settings.kafka_bootstrap) as reader,
    ):
        decoding = Decoding(registry.schema_by_id)
        for record in reader.follow(TOPIC, from_start=True, to_end=True):
            key = (record.key or b"").decode(errors="replace")
            fields = decoding.decode(record.value).fields
            # The key decides what a record replaces, as it does when the topic is compacted.
            if record.value is None or (fields is not None and fields.get("deleted")):
                tenants.pop(key, None)
            elif fields is not None:
                tenants[key] = Tenant(
                    key, fields.get("name"), fields.get("tier"), fields.get("region")
                )
    return dict(sorted(tenants.items()))


def write_tenants(settings: Settings, tenants: Iterable[Tenant], *, deleted: bool = False) -> int:
    """Write records and return how many once all are acknowledged."""
    schema = load_contract(settings.schemas).tenant
    with RegistryClient(settings.registry_url) as registry:
        number = registry.register(full_name(schema), schema)
    write = record_writer(schema)
    try:
        producer = KafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap, client_id="sluice-tenants", acks="all",
            enable_idempotence=True, linger_ms=5, max_block_ms=_CONNECT_MS,
            bootstrap_timeout_ms=_CONNECT_MS,
        )
        try:
            waiting = [
                producer.send(
                    TOPIC, key=tenant.tenant_id.encode(),
                    value=frame(number, write({**asdict(tenant), "deleted": deleted})),
                )
                for tenant in tenants
            ]
            producer.flush(timeout=_ACK_SECONDS)
            for answer in waiting:
                answer.get(timeout=_ACK_SECONDS)
        finally:
            producer.close(timeout=5)
    except (KafkaError, OSError) as error:
        message = (
            f"Kafka at {settings.kafka_bootstrap} does not take the reference data:"
            f" {error or type(error).__name__}"
        )
        raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
    return len(waiting)


def made_up_tenants(count: int, seed: int) -> Iterator[Tenant]:
    """Yield the tenants of made-up events, with names, tiers and regions."""
    chance = Random(seed)  # noqa: S311 - made-up companies, not secrets
    for number in range(1, count + 1):
        name = f"{chance.choice(_FIRST)} {chance.choice(_SECOND)} {number}"
        yield Tenant(tenant_id(number), name, _TIERS.draw(chance), _REGIONS.draw(chance))
