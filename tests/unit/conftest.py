"""What all unit tests share: an environment without the caller's settings."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from control.settings import PREFIX
from tests.unit.file_server import FileServer

# A machine that is busy is no fault of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _logging_of_the_test_run() -> Iterator[None]:
    """Undo what a command under test does to the logging of all."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
