"""Upgrades against the fake Flink: what goes well, what is taken back, what is refused."""

from dataclasses import replace

import pytest

from control.errors import RefusedError, SluiceError
from control.lifecycle.back import TakenBackError, choose_return
from control.lifecycle.decide import Wish
from control.lifecycle.plan import How
from control.lifecycle.run import StepFailedError
from control.lifecycle.words import DeploymentState, Desired, OperationState
from jobs.spec import StatePart
from tests.kit.fake_flink_job import FakeJob, Metric
from tests.unit.lifecycle_kit import SPEC, Plane, last_operation, running_plane


@pytest.fixture
def plane() -> Plane:
    return running_plane()


def states(plane: Plane) -> list[str]:
    return [one.state.value for one in plane.deployments.all("counting")]


def on_submit(plane: Plane, version: str, fault: str) -> None:
    def give(job: FakeJob) -> None:
        if job.user_config["version"] != version:
            return
        if fault == "crashes at start":
            plane.flink.crash(job.id, after=0.1)
        elif fault == "crashes later":
            plane.flink.crash(job.id, after=8)
        elif fault == "fails":
            plane.flink.crash(job.id, "java.lang.ClassCastException: cannot map the state",
                              after=0.1, restarts=0)
        elif fault == "no checkpoint":
            job.completes_checkpoints = False
        elif fault == "refuses":
            job.vertex_metrics[job.vertices[0].name] = {
                "0.sluice.events_in": 100, "0.sluice.events_refused": 100,
            }

    plane.flink.when_submitted = give


def test_a_first_deploy_runs(plane: Plane) -> None:
    assert plane.live_version() == "1"
    assert states(plane) == ["live"]
    assert plane.deployments.desired["counting"].desired is Desired.RUNNING


def test_an_upgrade_goes_on_from_the_state_of_the_job_before(plane: Plane) -> None:
    old = plane.flink.live("counting")[0]
    plane.upgrade()
    new = plane.flink.live("counting")[0]
    assert plane.live_version() == "2"
    assert new.savepoint == plane.savepoints.all("counting")[0].path
    assert plane.savepoints.all("counting")[0].flink_job == old.id
    assert old.state == "FINISHED"
    assert states(plane) == ["live", "ended"]
    assert last_operation(plane).state is OperationState.DONE


def test_only_the_savepoint_of_an_upgrade_is_native(plane: Plane) -> None:
    # It is read at once; what a stop leaves may be kept for long.
    plane.upgrade()
    plane.stop()
    forms = [one.body["formatType"] for one in plane.flink.changes if one.path.endswith("/stop")]
    assert forms == ["NATIVE", "CANONICAL"]


def test_the_new_version_is_built_before_the_old_one_is_stopped(plane: Plane) -> None:
    plane.upgrade()
    assert plane.clients.prepared[-1] == plane.flink.live("counting")[0].id


@pytest.mark.parametrize("fault", ["crashes at start", "fails", "no checkpoint"])
def test_what_never_got_far_is_taken_back_from_the_savepoint(plane: Plane, fault: str) -> None:
    on_submit(plane, "2", fault)
    with pytest.raises(TakenBackError):
        plane.upgrade()
    taken = next(one for one in plane.savepoints.all("counting") if one.trigger)
    assert plane.live_version() == "1"
    assert plane.flink.live("counting")[0].savepoint == taken.path
    assert states(plane) == ["live", "failed", "ended"]
    assert last_operation(plane).state is OperationState.FAILED


def test_what_ran_a_while_is_taken_back_from_its_last_checkpoint(plane: Plane) -> None:
    on_submit(plane, "2", "crashes later")
    with pytest.raises(TakenBackError, match="restarted"):
        plane.upgrade(wish=Wish(watch_seconds=30))
    failed = next(one for one in plane.deployments.all("counting")
                  if one.state is DeploymentState.FAILED)
    newest = plane.flink.newest_state(failed.flink_job)
    assert newest is not None
    assert plane.live_version() == "1"
    assert plane.flink.live("counting")[0].savepoint == newest.path


def test_what_refuses_all_is_taken_back(plane: Plane) -> None:
    on_submit(plane, "2", "refuses")
    with pytest.raises(TakenBackError, match="refused 100 of 100"):
        plane.upgrade()
    assert plane.live_version() == "1"


def refusing(plane: Plane, share: float, after: float) -> None:
    """Let version 2 refuse a share of the first thousand, and none of those that come later."""
    refused = round(1000 * share)

    def give(job: FakeJob) -> None:
        counts: dict[str, Metric] = {
            "0.sluice.events_in": 1000, "0.sluice.events_refused": refused,
        }
        job.vertex_metrics[job.vertices[0].name] = counts
        plane.clock.later(after, lambda: counts.update({"0.sluice.events_in": 10_000}))

    plane.flink.when_submitted = give


def test_a_burst_of_refused_messages_is_made_up_for_while_it_is_watched(plane: Plane) -> None:
    refusing(plane, 0.05, after=20)
    plane.upgrade(wish=Wish(watch_seconds=30))
    assert plane.live_version() == "2"


def test_what_still_refuses_too_much_when_the_watch_is_over_is_taken_back(plane: Plane) -> None:
    refusing(plane, 0.05, after=60)
    begun = plane.clock.now()
    with pytest.raises(TakenBackError, match="refused 50 of 1,000"):
        plane.upgrade(wish=Wish(watch_seconds=30))
    assert plane.live_version() == "1"
    assert plane.clock.now() - begun >= 30


def test_what_refuses_far_too_much_is_not_watched_to_the_end(plane: Plane) -> None:
    refusing(plane, 0.2, after=20)
    with pytest.raises(TakenBackError, match=r"200 of 1,000 .* 1\.0% is allowed"):
        plane.upgrade(wish=Wish(watch_seconds=30))
    assert plane.live_version() == "1"


def test_more_may_be_refused_where_somebody_says_so(plane: Plane) -> None:
    refusing(plane, 0.2, after=60)
    plane.upgrade(wish=Wish(watch_seconds=30, max_refused=0.2))
    assert plane.live_version() == "2"


def test_what_refuses_as_much_as_before_is_left_alone(plane: Plane) -> None:
    # The plan was made before the old version had refused anything.
    old = plane.flink.live("counting")[0]
    old.vertex_metrics[old.vertices[0].name] = {
        "0.sluice.events_in": 1000, "0.sluice.events_refused": 600,
    }
    on_submit(plane, "2", "refuses")
    plane.upgrade()
    assert plane.live_version() == "2"


def test_a_first_deploy_may_refuse_all() -> None:
    # Nothing ran before that took more of it: what was sent may be at fault.
    plane = Plane()
    on_submit(plane, "1", "refuses")
    plane.deploy()
    assert plane.live_version() == "1"


def test_state_of_another_form_is_not_handed_back(plane: Plane) -> None:
    on_submit(plane, "2", "crashes later")
    spec = replace(SPEC, state=(SPEC.state[0], StatePart("count", "count/2", "", ("count/1",))))
    with pytest.raises(TakenBackError):
        plane.upgrade(plane.release("2", spec), Wish(watch_seconds=30))
    taken = next(one for one in plane.savepoints.all("counting") if one.trigger)
    assert plane.flink.live("counting")[0].savepoint == taken.path


def test_a_client_that_does_not_submit_is_taken_back(plane: Plane) -> None:
    plane.clients.refusals["2"] = RefusedError("counting was not started: no module named x")
    with pytest.raises(TakenBackError, match="no module named x"):
        plane.upgrade()
    assert plane.live_version() == "1"


def test_a_failed_savepoint_leaves_the_old_version_running(plane: Plane) -> None:
    old = plane.flink.live("counting")[0].id
    plane.flink.break_savepoints("java.io.IOException: No space left on device")
    with pytest.raises(StepFailedError, match="No space left"):
        plane.upgrade()
    plane.wait(30)
    assert [job.id for job in plane.flink.live("counting")] == [old]
    assert last_operation(plane).state is OperationState.FAILED
    assert plane.deployments.live("counting") is not None


def test_a_savepoint_that_completes_while_the_job_fails_is_used(plane: Plane) -> None:
    plane.flink.die_after_savepoint()
    plane.upgrade()
    assert plane.live_version() == "2"


def test_a_failing_job_goes_on_from_its_last_checkpoint(plane: Plane) -> None:
    old = plane.flink.live("counting")[0]
    plane.upgrade(wish=Wish(how=How.LAST_CHECKPOINT))
    newest = plane.flink.newest_state(old.id)
    assert newest is not None
    assert old.state == "CANCELED"
    assert plane.flink.live("counting")[0].savepoint == newest.path


def test_a_checkpoint_that_is_too_old_is_not_gone_on_from(plane: Plane) -> None:
    plane.flink.live("counting")[0].completes_checkpoints = False
    plane.wait(700)
    with pytest.raises(StepFailedError, match="old"):
        plane.upgrade(wish=Wish(how=How.LAST_CHECKPOINT))
    assert plane.live_version() == "1"


def test_a_jobmanager_that_dies_during_the_savepoint(plane: Plane) -> None:
    plane.clock.later(0.3, plane.flink.restart_jobmanager)
    plane.upgrade()
    assert plane.live_version() == "2"


def test_nothing_is_upgraded_that_does_not_run() -> None:
    with pytest.raises(RefusedError, match="does not run"):
        Plane().upgrade()


def test_nothing_is_deployed_twice(plane: Plane) -> None:
    with pytest.raises(RefusedError, match="there already"):
        plane.deploy()


def test_a_stopped_job_goes_on_from_where_it_stopped(plane: Plane) -> None:
    plane.stop()
    assert plane.flink.live("counting") == []
    plane.deploy(plane.release("2"))
    assert plane.flink.live("counting")[0].savepoint == plane.savepoints.all("counting")[0].path


def test_a_job_whose_state_is_lost_does_not_begin_without_it_silently(plane: Plane) -> None:
    job = plane.flink.live("counting")[0]
    plane.flink.cancel(job)
    plane.wait(5)
    plane.flink.forget(job.id)
    with pytest.raises(RefusedError, match="cannot be seen from here"):
        plane.deploy()
    plane.deploy(wish=Wish(fresh=True))
    assert plane.flink.live("counting")[0].savepoint is None


def test_a_first_version_that_fails_is_ended(plane: Plane) -> None:
    other = Plane()
    on_submit(other, "1", "fails")
    with pytest.raises(SluiceError, match="cannot map"):
        other.deploy()
    assert other.flink.live("counting") == []


def test_the_state_to_return_to() -> None:
    assert choose_return("kept", None, refuses=False, may_go_on=True).path == "kept"


def test_a_cancelled_job_goes_on_from_its_last_checkpoint(plane: Plane) -> None:
    old = plane.flink.live("counting")[0]
    assert "its last checkpoint is kept" in plane.stop(How.NOTHING)
    newest = plane.flink.newest_state(old.id)
    assert newest is not None
    plane.deploy()
    assert plane.flink.live("counting")[0].savepoint == newest.path


@pytest.mark.parametrize("given", ["number", "address"])
def test_a_savepoint_is_named_by_number_or_address(plane: Plane, given: str) -> None:
    plane.stop()
    [one] = plane.savepoints.all("counting")
    plane.deploy(wish=Wish(start_from=str(one.number) if given == "number" else one.path))
    assert plane.flink.live("counting")[0].savepoint == one.path


def test_a_number_of_no_savepoint_is_refused(plane: Plane) -> None:
    plane.stop()
    with pytest.raises(RefusedError, match="no savepoint 99"):
        plane.deploy(wish=Wish(start_from="99"))
