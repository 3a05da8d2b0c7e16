"""Reference data of tenants: read from its topic, kept as versioned text."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from udfs.cleaner import Tenant
from udfs.contract import Contract, Schema, full_name
from udfs.physical import check_usable, parse_physical
from udfs.reasons import Reason, RejectedError, undecodable
from udfs.wire import HEADER_SIZE, schema_id

# What is kept begins with this, so that a later form can tell it from its own.
_FORM = "1"


class TenantReader:
    """Reads records of reference.tenants, of any registered version."""

    def __init__(self, contract: Contract, schema: Callable[[int], Schema]) -> None:
        self._record = full_name(contract.tenant)
        self._newest = parse_physical(contract.tenant)
        self._schema = schema
        # By schema id.
        self._writers: dict[int, Any] = {}

    def read(self, message: bytes) -> tuple[str, Tenant | None]:
        """Return a tenant's id and what is known of it now; None when it is to be forgotten."""
        number = schema_id(message)
        if number is None:
            raise RejectedError(Reason.NOT_WIRE_FORMAT, "no registered record")
        writer = self._writers.get(number) or self._writer(number)
        stream = BytesIO(message)
        stream.seek(HEADER_SIZE)
        try:
            record = schemaless_reader(stream, writer, self._newest)
        # As in the decoder: the bytes are anybody's.
        except Exception as error:
            raise undecodable(error) from error
        if not record["tenant_id"]:
            raise RejectedError(Reason.MISSING_FIELD, "tenant_id is empty")
        if record["deleted"]:
            return record["tenant_id"], None
        return record["tenant_id"], Tenant(record["name"], record["tier"], record["region"])

    def _writer(self, number: int) -> Any:
        schema = self._schema(number)
        if full_name(schema) != self._record:
            raise RejectedError(Reason.WRONG_RECORD, f"{full_name(schema)} is no tenant")
        check_usable(schema)
        try:
            writer = self._writers[number] = parse_physical(schema)
        # As in the decoder: fastavro has no common base for what it says of a schema.
        except Exception as error:
            detail = f"schema {number} cannot be read: {error}"[:300]
            raise RejectedError(Reason.UNUSABLE_SCHEMA, detail) from error
        return writer


def pack(tenant: Tenant) -> str:
    """Return a tenant as it is kept in state."""
    return _FORM + json.dumps([tenant.name, tenant.tier, tenant.region])


def unpack(kept: str) -> Tenant:
    """Return a tenant from what is kept in state."""
    if not kept.startswith(_FORM):
        message = f"state of an unknown form: {kept[:1]!r}"
        raise ValueError(message)
    return Tenant(*json.loads(kept.removeprefix(_FORM)))
