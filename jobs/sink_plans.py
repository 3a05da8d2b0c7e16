"""What the writers of events.clean take along, from the settings; jobs and repairs write alike."""

from typing import Any

from control.registry import RegistryClient, registered_id
from control.search import wanted_template
from control.settings import Settings
from jobs.lane import LIVE, Into, Lane
from jobs.search import SearchPlan
from jobs.sink_basis import SinkBasis
from jobs.timescale import TimescalePlan
from udfs.contract import load_contract
from udfs.schema_store import RegistryAddress
from udfs.search_writer import SearchAddress
from udfs.timescale_writer import DatabaseAddress

TOPIC = "events.clean"


def timescale_plan(settings: Settings, lane: Lane = LIVE) -> TimescalePlan:
    """Return the plan of whoever writes rows."""
    database = DatabaseAddress(settings.timescale_dsn.get_secret_value())
    return TimescalePlan(_basis(settings, lane), database, lane.table("events"))


def search_plan(settings: Settings, lane: Lane = LIVE) -> SearchPlan:
    """Return the plan of whoever writes documents."""
    return SearchPlan(
        _basis(settings, lane), SearchAddress(settings.elasticsearch_url.get_secret_value()),
        index_form(lane), settings.search_keep_days, lane.indices("events"),
    )


def index_form(lane: Lane = LIVE) -> dict[str, Any]:
    """Return what a daily index is made with."""
    form: dict[str, Any] = wanted_template()["template"]
    # Whoever searches the alias shall not find a shadow.
    return {**form, "aliases": {}} if lane.into is Into.SHADOW else form


def _basis(settings: Settings, lane: Lane) -> SinkBasis:
    contract = load_contract(settings.schemas)
    with RegistryClient(settings.registry_url) as registry:
        dead_letter_id = registered_id(registry, contract.dead_letter)
    return SinkBasis(
        contract, dead_letter_id, RegistryAddress(settings.registry_url.get_secret_value()),
        TOPIC, settings.sink_batch_bytes, settings.sink_stall_minutes * 60,
        writes=lane.into is not Into.NOTHING,
    )
