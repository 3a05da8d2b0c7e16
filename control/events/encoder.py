"""Events as registered bytes: a zero, the schema's id, Avro."""

from collections.abc import Callable
from typing import Any

from control.events.event import Event
from control.events.writers import Writer, record_writer
from udfs.contract import Contract, Schema
from udfs.wire import frame


class Encoder:
    """Writes events of any version in git."""

    def __init__(self, contract: Contract, register: Callable[[Schema], int]) -> None:
        # In order: the registry holds a later version of a subject against the earlier ones.
        self._forms: dict[tuple[str, int], tuple[bytes, Writer]] = {
            (domain.name, version): (frame(register(schema), b""), record_writer(schema))
            for domain in contract.domains.values()
            for version, schema in enumerate(domain.versions, 1)
        }
        self._tenant = frame(register(contract.tenant), b""), record_writer(contract.tenant)

    def encode(self, event: Event) -> bytes:
        """Return an event's bytes."""
        header, write = self._forms[event.domain.name, event.version]
        return header + write(event.body)

    def encode_tenant(self, fields: dict[str, Any]) -> bytes:
        """Return a tenant's bytes, which are registered, but no event."""
        header, write = self._tenant
        return header + write(fields)
