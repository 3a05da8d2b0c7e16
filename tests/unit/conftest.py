"""What all unit tests share: an environment without the caller's settings."""

import os
from collections.abc import Iterator

import pytest

from control.settings import PREFIX
from tests.unit.file_server import FileServer


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running
