"""What the tests of the TimescaleDB gateway share."""

import re
from collections.abc import Iterator
from secrets import token_hex

import pytest

from tests.integration.timescale_gateway import (
    Connection,
    Gateway,
    fresh_data,
    start_gateway,
    with_table,
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    started = start_gateway(fresh_data(tmp_path_factory.mktemp("timescale") / "data"))
    yield started
    assert started.stop() == 0
    assert not [entry for entry in started.log() if entry["level"] == "error"]


@pytest.fixture
def conn(gateway: Gateway) -> Iterator[Connection]:
    with with_table(gateway) as connection:
        yield connection


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    """Return a tenant of this test's own."""
    # A stack may be used for more than one run of the tests.
    name = re.sub(r"\W+", "-", request.node.name)
    return f"{name}{token_hex(3)}"
