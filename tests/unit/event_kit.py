"""Made-up events without a registry: a contract, ids counted up, a clock that ticks."""

from collections.abc import Callable
from functools import cache
from io import BytesIO
from itertools import count, islice
from typing import Any

import fastavro

from control.events.encoder import Encoder
from control.events.generator import Generator
from control.events.traffic import Message, Shares, Traffic
from control.settings import PROJECT_ROOT
from udfs.contract import Contract, Schema, full_name, load_contract
from udfs.wire import HEADER_SIZE, schema_id

# 2026-11-21 in microseconds.
NOW = 1_795_219_200_000_000


@cache
def contract() -> Contract:
    """Return the contract in git."""
    return load_contract(PROJECT_ROOT / "schemas")


def ticking(step: int = 50) -> Callable[[], int]:
    """Return a clock that goes on by a few microseconds each time it is read."""
    times = count(NOW, step)
    return lambda: next(times)


class Ids:
    """Gives schemas ids, and knows them again."""

    def __init__(self) -> None:
        self.schemas: dict[int, Schema] = {}

    def register(self, schema: Schema) -> int:
        """Return a new id."""
        self.schemas[len(self.schemas) + 1] = schema
        return len(self.schemas)

    def decode(self, value: bytes) -> tuple[str, dict[str, Any]]:
        """Decode a message by its id; a wrong one raises. Nothing may be left over."""
        number = schema_id(value)
        assert number is not None
        schema = self.schemas[number]
        stream = BytesIO(value[HEADER_SIZE:])
        body = fastavro.schemaless_reader(stream, fastavro.parse_schema(schema), None)
        assert not stream.read(), "bytes are left over"
        return full_name(schema), dict(body)


def generator(seed: int = 1, tenants: int = 20, older: float = 0.3) -> Generator:
    """Return a generator with a clock of its own."""
    return Generator(contract(), seed, tenants, older, ticking())


def traffic(
    number: int, shares: Shares | None = None, ids: Ids | None = None, seed: int = 1,
    remembered: int = 50_000,
) -> list[Message]:
    """Return the first messages of a run with these shares."""
    encoder = Encoder(contract(), (ids or Ids()).register)
    mixed = Traffic(generator(seed), encoder, shares or Shares(), seed, remembered)
    return list(islice(mixed.messages(), number))
