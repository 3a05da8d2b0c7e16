"""Beside the live job: a new version is tried, a savepoint is proven, on a real cluster."""

import json
import subprocess
from pathlib import Path

import pytest

from control.flink import FlinkClient
from control.kafka import admin_client
from tests.kit.ingest import FLAWS, running_ingest
from tests.kit.outcome import Manifest, Outlet
from tests.kit.source_tree import SourceTree
from tests.kit.stack import SLUICE, TestStack
from tests.kit.workbench import Workbench


def left_behind(workbench: Workbench) -> list[str]:
    """Return what a lane has left: topics of its own, and jobs that run."""
    settings = workbench.stack.settings()
    with admin_client(settings.kafka_bootstrap) as admin:
        topics = [name for name in admin.list_topics()
                  if name.startswith(f"{workbench.job}-") and "." in name]
    with FlinkClient(settings.flink_url) as flink:
        jobs = [one.name for one in flink.jobs()
                if one.name.startswith(f"{workbench.job}-") and not one.is_over]
    return topics + jobs


def test_what_writes_the_same_is_put_in_place(workbench: Workbench) -> None:
    workbench.tree.change(comment="tidier")
    done = workbench.upgrade("--strategy", "shadow", "--trial", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    number = str(workbench.history()[0]["number"])
    steps = {one["step"]: one for one in
             json.loads(workbench.ok("history", "show", number, "--json"))["steps"]}
    assert steps["trial"]["result"]["differing"] == 0
    assert steps["trial"]["result"]["total"] > 500
    assert left_behind(workbench) == []
    assert set(workbench.numbers.verify()) == {"1"}


def test_what_writes_something_else_changes_nothing(workbench: Workbench) -> None:
    [before] = workbench.live()
    workbench.tree.change(version="2")
    done = workbench.upgrade("--strategy", "shadow", "--trial", "5")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "untouched" in done.stderr
    [after] = workbench.live()
    assert after.id == before.id
    with FlinkClient(workbench.stack.settings().flink_url) as flink:
        # A copy of its state was started beside it: none of its transactions was touched.
        assert int(flink.job_metrics(after.id, ["numRestarts"])["numRestarts"]) == 0
    assert left_behind(workbench) == []
    assert set(workbench.numbers.verify()) == {"1"}


@pytest.mark.long
def test_ingest_is_tried_beside_itself(stack: TestStack, tmp_path: Path) -> None:
    tree = SourceTree(tmp_path / "tree", "counting-beside")
    file = tmp_path / "sent.jsonl"
    with running_ingest(stack):
        outlet = Outlet(stack.settings().kafka_bootstrap)
        load = ["events", "produce", "--duration", "100", "--rate", "300", "--seed", "903",
                "--manifest", str(file), *FLAWS]
        with subprocess.Popen([str(SLUICE), *load], env=stack.environment()) as sending:
            done = stack.run("upgrade", "ingest", "--yes", "--strategy", "shadow", "--trial",
                             "15", SLUICE_SOURCE=str(tree.root))
            assert sending.wait(200) == 0
        assert done.returncode == 0, done.stdout + done.stderr
        [upgrade, *_] = json.loads(stack.ok("history", "ingest", "--json"))
        shown = json.loads(stack.ok("history", "show", str(upgrade["number"]), "--json"))
        [trial] = [one["result"] for one in shown["steps"] if one["step"] == "trial"]
        assert trial["differing"] == 0
        assert min(one["live"] for one in trial["compared"]) > 10
        outlet.check(Manifest.read(file))


def test_a_savepoint_is_proven_by_starting_from_it(workbench: Workbench) -> None:
    taken = json.loads(workbench.ok("savepoint", "create", workbench.job, "--json"))
    told = workbench.ok("savepoint", "verify", str(taken["number"]), "--restore")
    assert "it wrote nothing" in told
    shown = json.loads(workbench.ok("savepoint", "show", str(taken["number"]), "--json"))
    assert shown["verified"] == "restored"
    assert left_behind(workbench) == []
    assert set(workbench.numbers.verify()) == {"1"}
