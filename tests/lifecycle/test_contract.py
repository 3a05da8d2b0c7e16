"""A real Flink keeps the contract that the fake of the unit tests keeps."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from control.flink import FlinkClient
from control.flink_command import run_client
from control.settings import PROJECT_ROOT
from tests.kit import flink
from tests.kit.kafka import make_topic, send
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until
from tests.lifecycle.contract import CONTRACT, Rule

T = TypeVar("T")

_PATIENCE_SECONDS = 120
_PROGRAM = PROJECT_ROOT / "tests" / "jobs" / "counting.py"


class FlinkSubject:
    """The counting job in a stack's Flink: one at a time, and used again while it runs."""

    def __init__(self, stack: TestStack, client: FlinkClient, folder: Path) -> None:
        self.good_folder = (folder / "savepoints").as_uri()
        # No folder can be made below a file, not even by root.
        (folder / "file").write_text("in the way", encoding="utf-8")
        self.bad_folder = (folder / "file" / "savepoints").as_uri()
        self._stack = stack
        self._client = client
        self._job: str | None = None
        bootstrap = stack.settings().kafka_bootstrap
        source, target = "contract-numbers", "contract-answers"
        make_topic(bootstrap, source)
        make_topic(bootstrap, target)
        send(bootstrap, source, [b"key-%d" % (number % 7) for number in range(500)])
        self._source = source
        self._arguments = (bootstrap, source, target, flink.connector_jar(stack))

    def start(self, savepoint: str | None = None) -> str:
        if savepoint is None and self._job is not None and self._lives(self._job):
            return self._job
        self.end()
        if savepoint is None:
            self._job = flink.submit(self._stack, "counting", *self._arguments)
        else:
            self._job = run_client(
                self._stack.settings(), "counting",
                ["-s", savepoint, "-py", str(_PROGRAM), *self._arguments],
            )
        return self._job

    def poison(self, job: str) -> None:
        send(self._stack.settings().kafka_bootstrap, self._source, [b"poison"])

    def wait(self, what: str, condition: Callable[[], T | None]) -> T:
        return wait_until(what, condition, _PATIENCE_SECONDS)

    def end(self) -> None:
        """End the job, if it is there."""
        if self._job is not None and self._lives(self._job):
            flink.cancel(self._stack, self._job)

    def _lives(self, job: str) -> bool:
        return any(one.id == job and not one.is_over for one in self._client.jobs())


@pytest.fixture(scope="module")
def client(stack: TestStack) -> Iterator[FlinkClient]:
    with FlinkClient(stack.settings().flink_url) as made:
        yield made


@pytest.fixture(scope="module")
def subject(
    stack: TestStack, client: FlinkClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlinkSubject]:
    made = FlinkSubject(stack, client, tmp_path_factory.mktemp("contract"))
    yield made
    made.end()


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
def test_flink_keeps_the_rule(rule: Rule, client: FlinkClient, subject: FlinkSubject) -> None:
    rule(client, subject)
