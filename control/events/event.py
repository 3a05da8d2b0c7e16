"""What the generator makes: an event of one version of its domain, before it is encoded."""

from dataclasses import dataclass
from typing import Any

from udfs.contract import Domain

# Values as the wire has them: ids are text, times are microseconds since 1970, amounts are bytes.
Body = dict[str, Any]


@dataclass(slots=True)
class Event:
    """One event before it is encoded."""

    domain: Domain
    # The version in git of the schema that it is written with, from 1.
    version: int
    body: Body


def to_bytes(unscaled: int) -> bytes:
    """Return an exact amount as Avro's decimal has it: two's complement, as short as it can be."""
    return unscaled.to_bytes((unscaled.bit_length() + 8) // 8, "big", signed=True)


def tenant_id(number: int) -> str:
    """Return the id of the n-th made-up tenant, from 1."""
    return f"tenant-{number:04d}"
