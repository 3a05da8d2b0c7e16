"""Stop, deploy again, scale, roll back, savepoints, the control loop: on a real cluster."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from control.flink import FlinkClient
from control.savepoint_metadata import local_path
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
    workbench.tree.change(version="2")
    assert workbench.upgrade().returncode == 0
    # The working tree is of no interest to a rollback.
    workbench.tree.edit(version="3", crash_after=0)
    done = workbench.run("rollback", workbench.job, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is processed again" in done.stdout
    [live] = workbench.live()
    with FlinkClient(workbench.stack.settings().flink_url) as flink:
        told = flink.user_config(live.id)
    assert told["sluice.job"] == workbench.job
    assert len(told["sluice.archive"]) == 64
    assert set(workbench.numbers.verify()) == {"1", "2"}


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
