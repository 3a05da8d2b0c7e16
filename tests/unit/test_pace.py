"""An even pace, on a clock of the test's own."""

import pytest

from control.events.pace import Pace


class Clock:
    """Time that passes only by sleeping and by being told so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def run(rate: float | None, seconds: float, most: int = 250) -> list[tuple[float, int]]:
    clock = Clock()
    pace = Pace(rate, clock, clock.sleep)
    taken = []
    while clock.now < 100 + seconds:
        count = pace.take(most)
        taken.append((clock.now, count))
        clock.now += 1e-6 * count
    return taken


@pytest.mark.parametrize("rate", [0.5, 3, 100, 999, 20_000, 100_000])
def test_the_rate_is_kept(rate: float) -> None:
    seconds = 20
    total = sum(count for _, count in run(rate, seconds))
    assert total == pytest.approx(rate * seconds, rel=0.01, abs=1)


@pytest.mark.parametrize("rate", [100, 1_000, 20_000])
def test_no_more_than_a_few_milliseconds_leave_together(rate: float) -> None:
    assert max(count for _, count in run(rate, 5)) <= max(1, 0.004 * rate)


def test_without_a_rate_nothing_waits() -> None:
    clock = Clock()
    pace = Pace(None, clock, clock.sleep)
    assert [pace.take(250), pace.take(7)] == [250, 7]
    assert clock.now == 100.0


def test_a_stall_is_not_made_up_for_by_a_burst() -> None:
    clock = Clock()
    pace = Pace(1_000, clock, clock.sleep)
    pace.take(250)
    clock.now += 10
    soon = sum(pace.take(250) for _ in range(10))
    assert soon < 60


def test_a_long_wait_can_be_interrupted() -> None:
    clock = Clock()
    pace = Pace(0.01, clock, clock.sleep)
    assert pace.take(1) == 1
    assert pace.take(1) == 0
    assert clock.now - 100 <= 0.1
