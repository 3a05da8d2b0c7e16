"""Stacks for the tests: a whole one for all, small ones for single tests."""

from collections.abc import Callable, Iterator

import pytest

from control.settings import ADDRESSES, PREFIX
from tests.kit.stack import TEST_HOMES, TestStack

pytest_plugins = ["tests.kit.recorder"]


@pytest.fixture(autouse=True, scope="session")
def _no_settings_of_the_caller() -> Iterator[None]:
    """Keep the tests off servers that the developer's shell points at."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ADDRESSES:
            patch.delenv(f"{PREFIX}{name.upper()}", raising=False)
        yield


@pytest.fixture(scope="session")
def stack() -> Iterator[TestStack]:
    """Yield the whole stack, up. A test that breaks it brings it up again."""
    whole = TestStack(TEST_HOMES / "whole")
    whole.destroy()
    try:
        whole.ok("stack", "up")
        yield whole
    finally:
        whole.destroy()


@pytest.fixture
def small_stack(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestStack]]:
    """Yield a maker of further stacks, which are gone after the test."""
    made: list[TestStack] = []

    def make(name: str = "", **environment: str) -> TestStack:
        label = f"{request.node.originalname or request.node.name}{name}".removeprefix("test_")
        small = TestStack(TEST_HOMES / label[:40], **environment)
        small.destroy()
        made.append(small)
        return small

    yield make
    for small in made:
        small.destroy()
