"""The fake of Flink keeps the contract that a real one keeps."""

from collections.abc import Callable
from itertools import count
from typing import TypeVar

import pytest

from control.flink import FlinkClient
from tests.kit.fake_flink import FakeFlink
from tests.kit.fake_flink_words import python_stack
from tests.lifecycle.contract import CONTRACT, Rule

T = TypeVar("T")

_PATIENCE_SECONDS = 120


class FakeSubject:
    """Jobs of the fake; waiting costs no time."""

    good_folder = "file:///kept/savepoints"
    bad_folder = "file:///unwritable/savepoints"

    def __init__(self, fake: FakeFlink) -> None:
        self._fake = fake
        self._numbers = count(1)

    def start(self, savepoint: str | None = None) -> str:
        job = f"{next(self._numbers):032x}"
        uids = ["numbers", "count"]
        self._fake.submit(job, f"counting-{job[-1]}", savepoint=savepoint, uids=uids)
        return job

    def poison(self, job: str) -> None:
        self._fake.crash(job, python_stack("ValueError: a poisoned number"), after=1)

    def wait(self, what: str, condition: Callable[[], T | None]) -> T:
        deadline = self._fake.clock.now() + _PATIENCE_SECONDS
        while not (answer := condition()):
            assert self._fake.clock.now() < deadline, f"not {what}: {answer!r}"
            self._fake.clock.sleep(0.2)
        return answer


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("cache", [0, 3])
def test_the_fake_keeps_the_rule(rule: Rule, cache: float) -> None:
    fake = FakeFlink()
    fake.timing.cache = cache
    rule(FlinkClient("http://flink", transport=fake), FakeSubject(fake))


def test_the_fake_keeps_the_rule_of_the_adaptive_scheduler() -> None:
    fake = FakeFlink()
    fake.adaptive = True
    client = FlinkClient("http://flink", transport=fake)
    rule = next(one for one in CONTRACT if one.__name__ == "only_the_adaptive_scheduler_rescales")
    rule(client, FakeSubject(fake))
    assert not [one for one in fake.changes if one.method == "PUT"]
