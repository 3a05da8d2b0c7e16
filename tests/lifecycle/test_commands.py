"""Stop, deploy again, scale, roll back, savepoints, the control loop: on a real cluster."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from control.flink import FlinkClient
from control.savepoint_metadata import local_path
from tests.kit.databases import execute
from tests.kit.jobs import worker_of
from tests.kit.wait import wait_until
from tests.kit.workbench import Workbench


@pytest.mark.long
def test_stopped_and_deployed_again_it_goes_on(workbench: Workbench) -> None:
    workbench.ok("stop", workbench.job, "--reason", "a pause")
    assert workbench.live() == []
    workbench.ok("deploy", workbench.job)
    assert set(workbench.numbers.verify()) == {"1"}
    states = [one["kind"] for one in workbench.history()]
    assert states == ["deploy", "stop", "deploy"]


@pytest.mark.long
def test_scaled_it_goes_on(workbench: Workbench) -> None:
    workbench.ok("scale", workbench.job, "2", "--yes")
    [live] = workbench.live()
    with FlinkClient(workbench.stack.settings().flink_url) as flink:
        widths = {vertex["parallelism"] for vertex in flink.details(live.id)["vertices"]}
    assert 2 in widths
    workbench.numbers.verify()


def test_rolled_back_to_the_old_archive(workbench: Workbench) -> None:
    first = _archive(workbench)
    workbench.tree.change(version="2")
    assert workbench.upgrade().returncode == 0
    assert _archive(workbench) != first
    # The working tree is of no interest to a rollback.
    workbench.tree.edit(version="3", crash_after=0)
    done = workbench.run("rollback", workbench.job, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is processed again" in done.stdout
    assert _archive(workbench) == first
    assert set(workbench.numbers.verify()) == {"1", "2"}


def _archive(workbench: Workbench) -> str:
    """Return the hash of the code that runs, as Flink's own pages show it."""
    [live] = workbench.live()
    with FlinkClient(workbench.stack.settings().flink_url) as flink:
        told = flink.user_config(live.id)
    assert told["sluice.job"] == workbench.job
    assert len(told["sluice.archive"]) == 64
    return told["sluice.archive"]


def test_a_rollback_that_is_killed_is_finished(workbench: Workbench) -> None:
    workbench.tree.change(version="2")
    assert workbench.upgrade("--watch", "2").returncode == 0
    first = workbench.history()[-1]
    killed = workbench.run("rollback", workbench.job, "--yes", SLUICE_FAULT="start-acted")
    assert killed.returncode == -9
    workbench.ok("resume", workbench.job)
    assert len(workbench.live()) == 1
    shown = json.loads(workbench.ok("status", workbench.job, "--json"))
    assert shown[0]["version"] == _version_of(workbench, first["deployment"])
    workbench.numbers.verify()


def _version_of(workbench: Workbench, deployment: int) -> str:
    listed = json.loads(workbench.ok("history", workbench.job, "--deployments", "--json"))
    return next(str(one["version"]) for one in listed if one["number"] == deployment)


def test_what_crashes_later_is_rolled_back_from_its_last_checkpoint(workbench: Workbench) -> None:
    workbench.tree.change(version="2", crash_after=15)
    assert workbench.upgrade("--watch", "0").returncode == 0
    # It is restarted again and again: no savepoint can be taken of it.
    wait_until("crashing", lambda: _restarts(workbench) > 0, 90, 0.5)
    done = workbench.run("rollback", workbench.job, "--yes", "--strategy", "last-state")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(workbench.numbers.verify()) == {"1", "2"}


def _restarts(workbench: Workbench) -> int:
    [line] = json.loads(workbench.run("status", workbench.job, "--json").stdout)
    return int(line["restarts"] or 0)


def test_drained_it_is_gone_on_with_only_when_told(workbench: Workbench) -> None:
    workbench.ok("stop", workbench.job, "--drain")
    [one] = json.loads(workbench.ok("savepoint", "list", workbench.job, "--json"))
    assert one["origin"] == "drain"
    refused = workbench.run("deploy", workbench.job)
    assert refused.returncode == 3
    assert "was drained" in refused.stderr
    workbench.ok("deploy", workbench.job, "--from", str(one["number"]))
    workbench.numbers.verify()


def test_savepoints(workbench: Workbench) -> None:
    job = workbench.job
    first = json.loads(workbench.ok("savepoint", "create", job, "--json"))
    second = json.loads(workbench.ok("savepoint", "create", job, "--json"))
    shown = json.loads(workbench.ok("savepoint", "show", str(first["number"]), "--json"))
    by_uid = {part["uid"]: part for part in shown["operators"]}
    assert {"numbers", "count", "answers"} <= set(by_uid)
    assert by_uid["count"]["keyed_bytes"] > 0
    assert by_uid["count"]["max_parallelism"] == 720
    workbench.ok("savepoint", "verify", str(first["number"]))

    refused = workbench.run("savepoint", "dispose", str(second["number"]))
    assert refused.returncode == 3
    assert "newest" in refused.stderr
    refused = workbench.run("savepoint", "dispose", str(first["number"]))
    assert refused.returncode == 3
    assert "verified" in refused.stderr
    workbench.ok("savepoint", "verify", str(second["number"]))
    workbench.ok("savepoint", "dispose", str(first["number"]), "--reason", "a test")
    assert not _folder(first["path"]).exists()

    shutil.rmtree(_folder(second["path"]))
    lost = workbench.run("savepoint", "verify", str(second["number"]))
    assert lost.returncode == 1
    listed = json.loads(workbench.ok("savepoint", "list", job, "--all", "--json"))
    assert [one["state"] for one in listed] == ["lost", "disposed"]
    done = workbench.run("deploy", job, "--from", second["path"])
    assert done.returncode == 3


def test_a_savepoint_that_is_gone_starts_nothing(workbench: Workbench) -> None:
    workbench.ok("stop", workbench.job)
    [one] = json.loads(workbench.ok("savepoint", "list", workbench.job, "--json"))
    shutil.rmtree(_folder(one["path"]))
    done = workbench.run("deploy", workbench.job)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "cannot be read" in done.stderr
    assert workbench.live() == []


def test_the_control_loop_takes_savepoints_in_time(workbench: Workbench) -> None:
    job = workbench.job
    # Jobs that other tests have ended behind the books would be looked for, and started again.
    execute(workbench.stack, "UPDATE control.jobs SET desired = 'stopped' WHERE job <> %s", job)
    workbench.ok("savepoint", "schedule", job, "--every", "1h", "--keep", "2")
    workbench.ok("control", "run", "--once")
    workbench.ok("control", "run", "--once")
    listed = json.loads(workbench.ok("savepoint", "list", job, "--json"))
    assert [one["origin"] for one in listed] == ["periodic"]


@pytest.mark.long
def test_the_control_loop_restarts_what_failed(workbench: Workbench, tmp_path: Path) -> None:
    job = workbench.job
    workbench.ok("stop", job)
    profile = tmp_path / "profile.toml"
    profile.write_text(f'[jobs.{job}.flink]\n"restart-strategy.type" = "none"\n')
    workbench.ok("deploy", job, SLUICE_PROFILE=str(profile))
    [before] = workbench.live()
    worker = worker_of(workbench.stack, before.id, "count")
    workbench.stack.kill(worker)
    wait_until("failed", lambda: not workbench.live(), 90)
    workbench.stack.ok("stack", "up")
    assert workbench.run("status", job).returncode == 1
    assert "runs as deployment" in workbench.ok("control", "run", "--once")
    assert len(workbench.live()) == 1
    workbench.numbers.verify()


@pytest.mark.long
def test_a_cancelled_job_goes_on_from_its_last_checkpoint(workbench: Workbench) -> None:
    assert "its last checkpoint is kept" in workbench.ok("cancel", workbench.job)
    workbench.ok("deploy", workbench.job)
    workbench.numbers.verify()


def test_status(workbench: Workbench) -> None:
    def well() -> dict[str, Any] | None:
        done = workbench.run("status", workbench.job, "--json")
        [line] = json.loads(done.stdout)
        # Flink gathers metrics every ten seconds.
        known = line["lag"] is not None and line["judged"] > 0
        return dict(line) if done.returncode == 0 and known else None

    line = wait_until("well", well, 60, 1)
    assert line["state"] == "running"
    assert line["restarts"] == 0
    assert line["checkpoint_age_s"] < 60
    # Other tests' jobs, too, whose end no command has seen: their state is not ours to judge.
    assert workbench.job in workbench.run("status").stdout


def _folder(address: str) -> Path:
    found = local_path(address)
    assert found is not None
    return found
