"""What commands work with: Flink is asked for its settings when they are needed, and patiently."""

import pytest

from control.flink import FlinkClient
from control.lifecycle import open as opening
from control.lifecycle.open import open_desk
from control.settings import load_settings
from tests.kit.fake_clock import FakeClock
from tests.kit.fake_flink import FakeFlink


@pytest.fixture
def flink(monkeypatch: pytest.MonkeyPatch) -> FakeFlink:
    clock = FakeClock()
    found = FakeFlink(clock)
    found.settings |= {"execution.checkpointing.savepoint-dir": "s3://a/savepoints",
                       "execution.checkpointing.dir": "s3://a/checkpoints",
                       "web.refresh-interval": "7 s"}
    monkeypatch.setattr(opening, "FlinkClient",
                        lambda _: FlinkClient("http://flink", transport=found))
    monkeypatch.setattr(opening, "WallClock", lambda: clock)
    return found


def test_a_jobmanager_that_is_away_has_folders_all_the_same(flink: FakeFlink) -> None:
    flink.restart_jobmanager(away=10, electing=2)
    with open_desk(load_settings()) as desk:
        assert desk.place.checkpoint_folder == "s3://a/checkpoints"
        assert desk.place.savepoint_folder == "s3://a/savepoints"


def test_nobody_waits_for_flink_who_does_not_need_it(flink: FakeFlink) -> None:
    with open_desk(load_settings()):
        pass
    assert flink.requests == []


def test_an_answer_counts_as_final_when_flinks_own_pause_is_over(flink: FakeFlink) -> None:
    flink.submit("a" * 32, "counting")
    flink.refuse_connections(3, path="/jobmanager/config")
    with open_desk(load_settings()) as desk:
        begun = flink.clock.now()
        desk.place.eyes.final_checkpoints("a" * 32)
    assert flink.clock.now() - begun > 7
