"""What is refused before a job is touched, and what the way out is."""

import json
from dataclasses import replace

import pytest

from control.lifecycle.deployments import Release
from control.lifecycle.fit import fits
from control.lifecycle.graph import Graph, Operator
from control.lifecycle.plan import How, Plan, Restore, Suspend, Watch, plan_from_json
from control.lifecycle.preflight import Check, Facts, Verdict, preflight
from control.lifecycle.words import Kind
from control.savepoint_metadata import OperatorState, operator_id
from jobs.spec import JobSpec, StatePart, spec_from_json
from tests.unit.lifecycle_kit import SPEC, UIDS

CALM = Watch(3, 10, 60, 0, 100, 0.01)


def operator(uid: str, **more: int) -> Operator:
    return Operator(operator_id(uid), uid, uid, uid, more.get("parallelism", 1),
                    more.get("max_parallelism", 720))


def state(uid: str, size: int = 100, keyed: int = 50, most: int = 720) -> OperatorState:
    return OperatorState(operator_id(uid), uid, uid, 1, most, 1, size, keyed)


def plan(spec: JobSpec = SPEC, **more: object) -> Plan:
    release = Release("counting", "a" * 64, "2", spec.as_json(), {}, 1)
    return replace(
        Plan(Kind.UPGRADE, release, "f" * 32, Suspend(How.SAVEPOINT, "e" * 32),
             Restore(suspended=True), CALM, 1), **more,  # type: ignore[arg-type]
    )


def facts(**more: object) -> Facts:
    return replace(
        Facts("2.2.1", 3, 1, (), (), 8, Graph("process", tuple(map(operator, UIDS))),
              tuple(map(state, UIDS)), SPEC, "RUNNING", None, 0),
        **more,  # type: ignore[arg-type]
    )


def bad(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if check.verdict is Verdict.BAD}


def test_a_sound_upgrade_passes() -> None:
    checks = preflight(plan(), facts())
    assert {check.verdict for check in checks} == {Verdict.GOOD}


@pytest.mark.parametrize(("found", "name", "words"), [
    ({"flink_version": "2.3.0"}, "cluster", "2.3.0"),
    ({"free_slots": 0, "slots_given_back": 0}, "slots", "1 needed, 0 there"),
    ({"missing_topics": ("numbers",)}, "topics", "numbers"),
    ({"missing_topics": None}, "topics", "does not answer"),
    ({"job_state": "RESTARTING", "exception": "it broke"}, "running job", "it broke"),
    ({"wrote": replace(SPEC, mode="thread")}, "execution mode", "thread before, process now"),
    ({"state": (state("count", most=128),)}, "maximum parallelism", "128 before, 720 now"),
    ({"state": (state("tally"),)}, "state", "tally (100 bytes)"),
    ({"wrote": replace(SPEC, state=(SPEC.state[0], StatePart("count", "count/9", "")))},
     "forms of state", "count/9"),
])
def test_what_is_refused(found: dict[str, object], name: str, words: str) -> None:
    checks = bad(preflight(plan(), facts(**found)))
    assert list(checks) == [name]
    assert words in checks[name].found
    assert checks[name].way_out


def test_schemas_and_migrations() -> None:
    spec = replace(SPEC, schemas=("sluice.events.Clean",), migration=9)
    checks = bad(preflight(plan(spec), facts(missing_schemas=("sluice.events.Clean",), wrote=spec)))
    assert list(checks) == ["schemas", "migrations"]


@pytest.mark.parametrize("restore", [Restore(suspended=True), Restore(path="file:/s")])
@pytest.mark.parametrize("held", [tuple(map(state, UIDS)), None])
def test_state_of_unknown_code_must_be_allowed(
    restore: Restore, held: tuple[OperatorState, ...] | None
) -> None:
    unknown = facts(wrote=None, state=held)
    checks = bad(preflight(plan(restore=restore), unknown))
    assert list(checks) == ["origin of state"]
    assert "--allow-unknown" in checks["origin of state"].way_out
    allowed = preflight(plan(restore=replace(restore, allow_unknown=True)), unknown)
    assert not bad(allowed)
    assert any(check.name == "origin of state" and check.verdict is Verdict.WARNING
               for check in allowed)
    assert all(check.name != "execution mode" for check in allowed)


def test_without_state_nobody_asks_what_wrote_it() -> None:
    checks = preflight(plan(restore=Restore()), facts(wrote=None, state=None))
    assert not bad(checks)
    assert any(check.name == "execution mode" for check in checks)


def test_a_job_without_a_checkpoint_has_a_mode_and_forms() -> None:
    # It is stopped with a savepoint, which will have both.
    wrote = replace(SPEC, mode="thread")
    assert list(bad(preflight(plan(), facts(state=None, wrote=wrote)))) == ["execution mode"]
    wrote = replace(SPEC, state=(SPEC.state[0], StatePart("count", "count/9", "")))
    assert list(bad(preflight(plan(), facts(state=None, wrote=wrote)))) == ["forms of state"]


def test_state_may_be_dropped_when_told() -> None:
    checks = preflight(plan(restore=Restore(suspended=True, allow_dropped=True)),
                       facts(state=(state("tally"),)))
    assert not bad(checks)
    assert any("tally" in check.found and check.verdict is Verdict.WARNING for check in checks)


def test_an_operator_without_state_may_go() -> None:
    assert not bad(preflight(plan(), facts(state=(*map(state, UIDS), state("old", 0, 0)))))


def test_what_starts_empty_is_told() -> None:
    checks = preflight(plan(), facts(state=(state("numbers"),)))
    assert any(check.name == "starts empty" and "count" in check.found for check in checks)


def test_there_must_be_a_way_back() -> None:
    assert "way back" in bad(preflight(plan(undo=None), facts()))


def test_a_plan_outlives_the_database() -> None:
    kept = json.loads(json.dumps(plan().as_json()))
    read = plan_from_json(kept)
    assert json.loads(json.dumps(read.as_json())) == kept
    assert (read.kind, read.suspend.how) == (Kind.UPGRADE, How.SAVEPOINT)


def test_a_spec_outlives_the_archive() -> None:
    content = json.loads(json.dumps(SPEC.as_json()))
    assert spec_from_json(content) == SPEC
    content["from a newer version"] = 1
    content["health"]["too"] = 2
    assert spec_from_json(content) == SPEC


@pytest.mark.parametrize(("wrote", "words"), [
    (SPEC, None),
    (replace(SPEC, mode="thread"), "thread mode"),
    (replace(SPEC, max_parallelism=128), "128"),
    (replace(SPEC, state=(*SPEC.state, StatePart("old", "x/1", "old things"))), "old things"),
])
def test_fits(wrote: JobSpec, words: str | None) -> None:
    found = fits(wrote, SPEC)
    assert (found is None) if words is None else (found is not None and words in found)


def test_an_older_form_may_be_read() -> None:
    newer = StatePart("count", "count/2", "", ("count/1",))
    reads = replace(SPEC, state=(SPEC.state[0], newer, SPEC.state[2]))
    assert fits(SPEC, reads) is None
    assert fits(reads, SPEC) is not None
