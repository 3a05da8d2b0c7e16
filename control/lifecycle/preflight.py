"""Everything that is checked before a running job is touched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from control.lifecycle.fit import fits
from control.lifecycle.graph import Graph
from control.lifecycle.plan import How, Plan
from control.savepoint_metadata import OperatorState
from jobs.spec import JobSpec, spec_from_json

# The line of Flink that jobs are built for.
_VERSION = "2.2."


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """One line of the preflight table."""

    name: str
    verdict: Verdict
    found: str
    # What to do about it.
    way_out: str = ""


@dataclass(frozen=True)
class Facts:
    """What was observed before the decision: nothing here is asked again by a check."""

    flink_version: str
    free_slots: int
    # Of the job that will be suspended.
    slots_given_back: int
    missing_topics: tuple[str, ...] | None
    missing_schemas: tuple[str, ...] | None
    migration: int | None
    graph: Graph
    # The state that will be restored, as far as it can be known now; None: it begins without.
    state: tuple[OperatorState, ...] | None
    # The version that wrote that state.
    wrote: JobSpec | None
    job_state: str | None
    exception: str | None
    savepoints_under_way: int


def preflight(plan: Plan, facts: Facts) -> list[Check]:
    """Run every check."""
    spec = spec_from_json(plan.release.spec)
    found: list[Check] = []
    for check in _CHECKS:
        found += check(plan, spec, facts)
    return found


def _cluster(_plan: Plan, _spec: JobSpec, facts: Facts) -> Sequence[Check]:
    good = facts.flink_version.startswith(_VERSION)
    return [Check(
        "cluster", Verdict.GOOD if good else Verdict.BAD, f"Flink {facts.flink_version}",
        "" if good else f"Use a cluster of Flink {_VERSION}x.",
    )]


def _slots(plan: Plan, _spec: JobSpec, facts: Facts) -> Sequence[Check]:
    needed = max([plan.release.parallelism,
                  *(operator.parallelism for operator in facts.graph.operators)])
    # A trial runs while the old version does.
    beside = plan.trial is not None
    there = facts.free_slots + (0 if beside else facts.slots_given_back)
    good = needed <= there
    way_out = "Add TaskManagers, or use a lower parallelism"
    return [Check(
        "slots", Verdict.GOOD if good else Verdict.BAD, f"{needed} needed, {there} there",
        "" if good else f"{way_out}, or --strategy savepoint." if beside else f"{way_out}.",
    )]


def _trial(plan: Plan, spec: JobSpec, _facts: Facts) -> Sequence[Check]:
    if plan.trial is None:
        return []
    if not spec.lanes:
        return [Check("trial", Verdict.BAD, "this code cannot run beside itself",
                      "Use --strategy savepoint, or teach it lanes (docs/lifecycle.md).")]
    return [Check("trial", Verdict.GOOD, ", ".join(spec.outputs))]


def _topics(_plan: Plan, spec: JobSpec, facts: Facts) -> Sequence[Check]:
    missing = facts.missing_topics
    if missing is None:
        return [Check("topics", Verdict.BAD, "Kafka does not answer", "Is it up?")]
    if missing:
        return [Check("topics", Verdict.BAD, f"missing: {', '.join(missing)}",
                      "`sluice stack up` makes them, or make them as docs say.")]
    return [Check("topics", Verdict.GOOD, ", ".join(spec.inputs))]


def _schemas(_plan: Plan, spec: JobSpec, facts: Facts) -> Sequence[Check]:
    if not spec.schemas:
        return []
    if facts.missing_schemas is None:
        return [Check("schemas", Verdict.BAD, "the registry does not answer", "Is it up?")]
    if facts.missing_schemas:
        return [Check("schemas", Verdict.BAD,
                      "not registered as this version has them:"
                      f" {', '.join(facts.missing_schemas)}",
                      "`sluice schema check`, then `sluice schema register`.")]
    return [Check("schemas", Verdict.GOOD, f"{len(spec.schemas)} registered")]


def _migrations(_plan: Plan, spec: JobSpec, facts: Facts) -> Sequence[Check]:
    if not spec.migration:
        return []
    there = facts.migration or 0
    good = there >= spec.migration
    return [Check("migrations", Verdict.GOOD if good else Verdict.BAD,
                  f"{there:04d} applied, {spec.migration:04d} needed",
                  "" if good else "Run `sluice db migrate`.")]


def _operations(_plan: Plan, _spec: JobSpec, facts: Facts) -> Sequence[Check]:
    if facts.savepoints_under_way:
        return [Check("operations", Verdict.WARNING,
                      f"{facts.savepoints_under_way} savepoints under way", "They are waited for.")]
    return [Check("operations", Verdict.GOOD, "none under way")]


def _running(plan: Plan, _spec: JobSpec, facts: Facts) -> Sequence[Check]:
    how = plan.suspend.how
    if how is How.NOTHING:
        return []
    why = f": {facts.exception}" if facts.exception else ""
    if how is How.SAVEPOINT and facts.job_state != "RUNNING":
        return [Check("running job", Verdict.BAD, f"{(facts.job_state or 'unknown').lower()}{why}",
                      "A failing job takes no savepoint: --strategy last-state goes on from its"
                      " last checkpoint.")]
    return [Check("running job", Verdict.GOOD, (facts.job_state or "unknown").lower())]


def _writer(plan: Plan, _spec: JobSpec, facts: Facts) -> Sequence[Check]:
    if facts.wrote is not None or not plan.restore.has_state:
        return []
    found = "which code wrote it is not known: neither its execution mode nor its forms are"
    if plan.restore.allow_unknown:
        return [Check("origin of state", Verdict.WARNING, f"{found} compared, as allowed")]
    return [Check("origin of state", Verdict.BAD, f"{found} known",
                  "Go on from one that `sluice savepoint list` shows. If this version surely reads"
                  " this one, allow it: --allow-unknown.")]


def _mode(plan: Plan, spec: JobSpec, facts: Facts) -> Sequence[Check]:
    wrote = facts.wrote
    if wrote is None and plan.restore.has_state:
        # Told by the check of what wrote it.
        return []
    if wrote is not None and wrote.mode != spec.mode:
        return [Check(
            "execution mode", Verdict.BAD, f"{wrote.mode} before, {spec.mode} now: the state would"
            " not be found, without an error",
            f"Keep {wrote.mode} mode, or give the state up: `sluice stop`, then"
            " `sluice deploy --fresh`.",
        )]
    return [Check("execution mode", Verdict.GOOD, spec.mode)]


def _max_parallelism(_plan: Plan, _spec: JobSpec, facts: Facts) -> Sequence[Check]:
    narrowed = []
    for state in facts.state or ():
        operator = facts.graph.find(state.id)
        if operator is not None and state.keyed_bytes and (
            operator.max_parallelism != state.max_parallelism
        ):
            narrowed.append(f"{operator.title}: {state.max_parallelism} before,"
                            f" {operator.max_parallelism} now")
    if narrowed:
        return [Check("maximum parallelism", Verdict.BAD, "; ".join(narrowed),
                      "Keep it: Flink spreads keyed state by it. Otherwise give the state up:"
                      " `sluice stop`, then `sluice deploy --fresh`.")]
    return [Check("maximum parallelism", Verdict.GOOD, "as before" if facts.state else "no state")]


def _dropped(plan: Plan, _spec: JobSpec, facts: Facts) -> Sequence[Check]:
    if facts.state is None:
        return []
    lost = [state for state in facts.state if state.bytes and facts.graph.find(state.id) is None]
    if not lost:
        kept = sum(1 for state in facts.state if facts.graph.find(state.id) is not None)
        return [Check("state", Verdict.GOOD, f"{kept} operators' state finds its place")]
    named = ", ".join(f"{state.uid or state.name or state.id} ({state.bytes:,} bytes)"
                      for state in lost)
    if plan.restore.allow_dropped:
        return [Check("state", Verdict.WARNING, f"given up, as allowed: {named}")]
    return [Check("state", Verdict.BAD, f"without a place in the new graph: {named}",
                  "Give the operator its old uid, or allow it to be dropped: --allow-dropped.")]


def _empty(plan: Plan, spec: JobSpec, facts: Facts) -> Sequence[Check]:
    if facts.state is None:
        given_up = Verdict.WARNING if plan.note else Verdict.GOOD
        return [Check("starts empty", given_up, plan.note or "all of it, for the first time")] \
            if spec.state else []
    known = {state.id for state in facts.state}
    wanted = {part.uid for part in spec.state}
    fresh = [operator.title for operator in facts.graph.operators
             if operator.uid in wanted and operator.id not in known]
    if not fresh:
        return []
    return [Check("starts empty", Verdict.WARNING, ", ".join(fresh),
                  "Right for a new operator; if it was renamed, give it its old uid.")]


def _forms(_plan: Plan, spec: JobSpec, facts: Facts) -> Sequence[Check]:
    if facts.wrote is None:
        return []
    problem = fits(facts.wrote, spec)
    if problem is None:
        return [Check("forms of state", Verdict.GOOD, "readable")]
    if "has no place" in problem or "mode" in problem or "maximum parallelism" in problem:
        # Told by the checks above, with its own way out.
        return []
    return [Check("forms of state", Verdict.BAD, problem,
                  "Let the new code read the old form, too (`reads` in jobs/catalogue.py).")]


def _way_back(plan: Plan, _spec: JobSpec, _facts: Facts) -> Sequence[Check]:
    if plan.suspend.how is How.NOTHING:
        return []
    if plan.undo is None:
        return [Check("way back", Verdict.BAD, "what runs was not deployed by sluice: its code is"
                      " in no archive", "Allow it: --no-way-back.")]
    return [Check("way back", Verdict.GOOD, f"deployment {plan.undo}")]


_CHECKS: Sequence[Callable[[Plan, JobSpec, Facts], Sequence[Check]]] = (
    _cluster, _slots, _trial, _topics, _schemas, _migrations, _operations, _running, _writer,
    _mode, _max_parallelism, _dropped, _empty, _forms, _way_back,
)
