"""What the tests of upgrades share: a checkout with a counting job, numbers that keep coming."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from tests.kit.jobs import end_job
from tests.kit.numbers import Numbers
from tests.kit.source_tree import SourceTree
from tests.kit.stack import TestStack
from tests.kit.workbench import Workbench


@pytest.fixture
def workbench(stack: TestStack, tmp_path: Path) -> Iterator[Workbench]:
    """Yield a counting job of the test's own, deployed, with numbers on their way."""
    with running_workbench(stack, tmp_path) as made:
        yield made


@contextmanager
def running_workbench(stack: TestStack, folder: Path, **variant: Any) -> Iterator[Workbench]:
    """Deploy a counting job under load; end it afterwards."""
    name = f"counting-{token_hex(3)}"
    tree = SourceTree(folder / "tree", name)
    tree.change(**variant)
    with Numbers(stack, name) as numbers:
        made = Workbench(stack, tree, numbers)
        made.ok("deploy", name)
        yield made
    end_job(stack, name)
