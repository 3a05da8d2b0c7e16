"""What the writers of events.clean take along, from the settings; jobs and repairs write alike."""

from control.registry import RegistryClient, registered_id
from control.search import wanted_template
from control.settings import Settings
from jobs.search import SearchPlan
from jobs.timescale import TimescalePlan
from udfs.contract import load_contract
from udfs.schema_store import RegistryAddress
from udfs.search_writer import SearchAddress
from udfs.timescale_writer import DatabaseAddress

TOPIC = "events.clean"


def timescale_plan(settings: Settings) -> TimescalePlan:
    """Return the plan of whoever writes rows."""
    contract = load_contract(settings.schemas)
    with RegistryClient(settings.registry_url) as registry:
        dead_letter_id = registered_id(registry, contract.dead_letter)
    return TimescalePlan(
        contract=contract,
        dead_letter_id=dead_letter_id,
        registry=RegistryAddress(settings.registry_url.get_secret_value()),
        database=DatabaseAddress(settings.timescale_dsn.get_secret_value()),
        topic=TOPIC,
        max_bytes=settings.sink_batch_bytes,
        stall_seconds=settings.sink_stall_minutes * 60,
    )


def search_plan(settings: Settings) -> SearchPlan:
    """Return the plan of whoever writes documents."""
    contract = load_contract(settings.schemas)
    with RegistryClient(settings.registry_url) as registry:
        dead_letter_id = registered_id(registry, contract.dead_letter)
    return SearchPlan(
        contract=contract,
        dead_letter_id=dead_letter_id,
        registry=RegistryAddress(settings.registry_url.get_secret_value()),
        search=SearchAddress(settings.elasticsearch_url.get_secret_value()),
        index=wanted_template()["template"],
        keep_days=settings.search_keep_days,
        topic=TOPIC,
        max_bytes=settings.sink_batch_bytes,
        stall_seconds=settings.sink_stall_minutes * 60,
    )
