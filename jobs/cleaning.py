"""The operator that judges raw messages, next to the reference data of tenants."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyflink.common import Types
from pyflink.datastream import OutputTag, RuntimeContext
from pyflink.datastream.functions import BroadcastProcessFunction
from pyflink.datastream.state import MapStateDescriptor

from jobs.cleaning_metrics import Counts
from jobs.thread_mode import is_cancelled, subtask_index
from udfs.cleaner import Tenant
from udfs.contract import Contract
from udfs.ingestion import Cleaned, Ingestion, IngestRules, SchemaIds
from udfs.letters import LetterWriter, Origin
from udfs.reasons import RejectedError, Stage
from udfs.schema_store import RegistryAddress, SchemaStore
from udfs.tenants import TenantReader, pack, unpack

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
LETTERS = OutputTag("letters", BYTES)
# event id, tenant, occurred at (milliseconds), canonical record
CLEAN_TYPE = Types.TUPLE([BYTES, Types.STRING(), Types.LONG(), BYTES])
TENANTS = MapStateDescriptor("tenants", Types.STRING(), Types.STRING())

# A tenant that was removed is remembered as such.
_REMOVED = ""
_MOST_CACHED = 100_000


@dataclass(frozen=True)
class CleaningPlan:
    """What the operator takes along to the workers."""

    contract: Contract
    ids: SchemaIds
    rules: IngestRules
    registry: RegistryAddress
    raw_topic: str
    reference_topic: str
    # What was known when the job was built: without it the first events of a first start would
    # pass before the reference data has been read.
    tenants: Mapping[str, Tenant]


# PyFlink has no types.
class CleanEvents(BroadcastProcessFunction):  # type: ignore[misc]
    """Turns raw messages into clean events and dead letters."""

    def __init__(self, plan: CleaningPlan) -> None:
        self._plan = plan

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare the decoder and the metrics."""
        plan = self._plan
        self._store = SchemaStore(plan.registry, stopped=is_cancelled)
        self._ingestion = Ingestion(
            plan.contract, plan.ids, self._store.schema, plan.rules, plan.raw_topic
        )
        self._reader = TenantReader(plan.contract, self._store.schema)
        self._letters = LetterWriter(plan.contract, plan.ids.dead_letter, Stage.REFERENCE)
        # Each subtask sees every reference record; one letter for a bad one is enough.
        self._writes_letters = subtask_index(runtime_context) == 0
        self._tenants: dict[str, Tenant | None] = {}
        self._count = Counts()
        self._count.register(runtime_context.get_metrics_group(), self._store)

    def process_element(
        self, value: bytes, ctx: "BroadcastProcessFunction.ReadOnlyContext"
    ) -> Iterator[tuple[Any, ...]]:
        """Judge one message."""
        begun = time.perf_counter_ns()
        now = time.time_ns() // 1000
        received = ctx.timestamp() * 1000
        tenants = self._tenants

        def tenant(name: str) -> Tenant | None:
            return tenants[name] if name in tenants else self._look_up(name, ctx)

        result = self._ingestion.process(value, received, now, tenant)
        count = self._count
        count.taken += 1
        count.nanoseconds += time.perf_counter_ns() - begun
        if isinstance(result, Cleaned):
            count.lag = now - received
            count.late += result.late
            yield result.event_id, result.tenant_id, result.occurred_at // 1000, result.message
        else:
            count.refused[result.reason] += 1
            yield LETTERS, result.letter

    def process_broadcast_element(
        self, value: bytes, ctx: "BroadcastProcessFunction.Context"
    ) -> Iterator[tuple[Any, ...]]:
        """Take over what is new about a tenant."""
        try:
            name, tenant = self._reader.read(value)
        except RejectedError as error:
            self._count.reference_refused += 1
            if self._writes_letters:
                origin = Origin(self._plan.reference_topic, ctx.timestamp() * 1000)
                now = time.time_ns() // 1000
                yield LETTERS, self._letters.letter(value, error, origin, now)
            return
        state = ctx.get_broadcast_state(TENANTS)
        state.put(name, _REMOVED if tenant is None else pack(tenant))
        self._tenants[name] = tenant

    def _look_up(self, name: str, ctx: Any) -> Tenant | None:
        kept = ctx.get_broadcast_state(TENANTS).get(name)
        if kept is None:
            tenant = self._plan.tenants.get(name)
        else:
            tenant = None if kept == _REMOVED else unpack(kept)
        if len(self._tenants) >= _MOST_CACHED:
            # Hostile tenants' names must not fill the memory.
            self._tenants.clear()
        self._tenants[name] = tenant
        return tenant
