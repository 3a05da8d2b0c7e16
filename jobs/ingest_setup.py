"""Job `ingest` as the settings want it: ids from the registry, limits from the broker."""

from collections.abc import Sequence

from pyflink.datastream import StreamExecutionEnvironment

from control.registry import RegistryClient, registered_id
from control.settings import Settings
from control.tenants import read_tenants
from jobs.cleaning import CleaningPlan
from jobs.driver import environment
from jobs.ingest import IngestGraph, build
from jobs.lane import LIVE, Lane
from jobs.setup import transaction_timeout
from udfs.cleaner import Tenant
from udfs.contract import load_contract
from udfs.ingestion import IngestRules, SchemaIds
from udfs.rules import TimeLimits
from udfs.schema_store import RegistryAddress

# Measured, see docs/adr/0006.
_MODE = "thread"
# How much later than others an event may come before event time passes it by.
_OUT_OF_ORDER_SECONDS = 5.0


def prepare(
    settings: Settings, jars: Sequence[str], lane: Lane = LIVE
) -> StreamExecutionEnvironment:
    """Return the environment that holds the whole job."""
    contract = load_contract(settings.schemas)
    with RegistryClient(settings.registry_url) as registry:
        ids = SchemaIds(
            registered_id(registry, contract.clean),
            registered_id(registry, contract.dead_letter),
        )
    rules = IngestRules(
        settings.ingest_max_bytes,
        TimeLimits(settings.ingest_max_age_days, settings.ingest_max_ahead_minutes),
        settings.ingest_late_seconds,
    )
    plan = CleaningPlan(
        contract, ids, rules, RegistryAddress(settings.registry_url.get_secret_value()),
        "events.raw", "reference.tenants",
        {name: Tenant(known.name, known.tier, known.region)
         for name, known in read_tenants(settings).items()},
    )
    env = environment(settings, jars, _MODE, settings.ingest_parallelism)
    build(env, IngestGraph(
        lane=lane,
        cleaning=plan,
        bootstrap=settings.kafka_bootstrap,
        clean_topic="events.clean",
        letter_topic="events.dlq",
        transaction_timeout_ms=transaction_timeout(settings),
        dedupe_hours=settings.ingest_dedupe_hours,
        out_of_order_seconds=_OUT_OF_ORDER_SECONDS,
        idle_seconds=settings.ingest_idle_seconds,
    ))
    return env
