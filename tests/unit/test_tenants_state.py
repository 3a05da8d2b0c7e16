"""Reference data: what a record says, and how it is kept in state."""

from io import BytesIO
from typing import Any

import fastavro
import pytest

from tests.unit.event_kit import contract
from udfs.cleaner import Tenant
from udfs.physical import parse_physical
from udfs.reasons import Reason, RejectedError
from udfs.tenants import TenantReader, pack, unpack
from udfs.wire import frame

SCHEMAS = {1: contract().tenant, 2: contract().clean}


def _message(**fields: Any) -> bytes:
    out = BytesIO()
    record = {"tenant_id": "acme", "deleted": False, **fields}
    fastavro.schemaless_writer(out, parse_physical(SCHEMAS[1]), record)
    return frame(1, out.getvalue())


@pytest.fixture
def reader() -> TenantReader:
    return TenantReader(contract(), SCHEMAS.__getitem__)


def test_a_tenant_is_read(reader: TenantReader) -> None:
    message = _message(name="Acme", tier="team", region="eu")
    assert reader.read(message) == ("acme", Tenant("Acme", "team", "eu"))
    assert reader.read(_message()) == ("acme", Tenant())
    assert reader.read(_message(deleted=True)) == ("acme", None)


@pytest.mark.parametrize(("message", "reason"), [
    (b"", Reason.NOT_WIRE_FORMAT),
    (b"{}", Reason.NOT_WIRE_FORMAT),
    (frame(2, b"abc"), Reason.WRONG_RECORD),
    (frame(1, b"\x10a"), Reason.UNDECODABLE),
    (_message(tenant_id=""), Reason.MISSING_FIELD),
])
def test_what_is_no_tenant(reader: TenantReader, message: bytes, reason: Reason) -> None:
    with pytest.raises(RejectedError) as caught:
        reader.read(message)
    assert caught.value.reason is reason


@pytest.mark.parametrize("tenant", [Tenant(), Tenant("Ä", None, "eu"), Tenant("a", "b", "c")])
def test_state_is_read_back(tenant: Tenant) -> None:
    assert unpack(pack(tenant)) == tenant


def test_state_of_a_later_form_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="form"):
        unpack("2" + pack(Tenant())[1:])
