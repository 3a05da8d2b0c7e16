"""What a replay writes to, and the comparison that closes it."""

from datetime import UTC, datetime

from control.lanes.compare import compare_lane
from control.lanes.outlets import make_outlets, remove_outlets
from control.lanes.position import forget_position, has_read
from control.lanes.transactions import end_transactions
from control.lifecycle.progress import Positions
from control.lifecycle.replay import Closing
from control.lifecycle.replay_plan import ReplayPlan
from control.lifecycle.run import Say
from control.lifecycle.workplace import Workplace
from control.reconcile.findings import StoreFindings, Verdict
from control.reconcile.run import STORES, await_comparable, reconcile, reconcile_lane
from control.reconcile.span import TOPIC, moment
from control.settings import Settings
from jobs.lane import Into, Lane

# A few checkpoints of the live jobs.
_PATIENCE_SECONDS = 120.0


class ReplayOutlets:
    """The outlets of one replay on real servers."""

    def __init__(self, settings: Settings, place: Workplace, plan: ReplayPlan) -> None:
        self._settings = settings
        self._place = place
        self._plan = plan
        self._spec = plan.spec

    def make(self, lane: Lane) -> None:
        """Make what a shadow writes to. Harmless when repeated."""
        make_outlets(self._settings, self._spec, lane)

    def remove(self, lane: Lane) -> None:
        """Delete what a shadow wrote, and end what the lane left open. Harmless when repeated."""
        end_transactions(self._settings.kafka_bootstrap, self._plan.job, lane)
        self.forget(lane)
        remove_outlets(self._settings, self._spec, lane)

    def has_read(self, lane: Lane, positions: Positions) -> bool:
        """Tell whether the lane's job has read all that was planned; it tells some positions."""
        return has_read(self._settings.kafka_bootstrap, self._plan.job, lane, self._plan.spans,
                        positions)

    def forget(self, lane: Lane) -> None:
        """Delete what is of no use once the lane's job is over."""
        forget_position(self._settings.kafka_bootstrap, self._plan.job, lane)

    def compare(self, lane: Lane, begun: float, say: Say) -> Closing:
        """Compare what came out since the replay began with what should have."""
        if lane.into is Into.SHADOW:
            if self._plan.job in STORES:
                return _shadow_words(reconcile_lane(self._settings, self._plan.job, lane, say))
            return self._shadow_beside_live(lane, say)
        first, end = (datetime.fromtimestamp(time / 1000, UTC)
                      for time in (self._plan.first, self._plan.end))
        if self._plan.job in STORES:
            return self._live([self._plan.job], first, end, say)
        if any(output.name == TOPIC for output in self._spec.writes):
            stores = [name for name in STORES if self._place.deployments.live(name) is not None]
            if stores:
                return self._live(stores, datetime.fromtimestamp(begun, UTC), datetime.now(UTC),
                                  say)
        return Closing(True, "Proven: all of it was read, and what was written is committed. Not"
                             " proven: what became of it; no store could be compared.")

    def _live(self, stores: list[str], first: datetime, end: datetime, say: Say) -> Closing:
        limits = await_comparable(self._settings, stores, first, end, _PATIENCE_SECONDS, say)
        verdict = reconcile(self._settings, stores, first, end, say)
        span = (f"what ingest cleaned from {moment(verdict.span.first)} to"
                f" {moment(verdict.span.end)}")
        if not verdict.equal:
            return Closing(False, f"Of {span} not all is right: {_differences(verdict)}.")
        titles = " and ".join(store.title for store in verdict.stores)
        words = (f"Proven: each of {verdict.events:,} committed events of {span} stands in"
                 f" {titles} once and unchanged, or has a dead letter.")
        unproven = [*limits, *verdict.span.limits]
        if unproven:
            words += f" Not compared: {'; '.join(dict.fromkeys(unproven))}."
        return Closing(True, words)

    def _shadow_beside_live(self, lane: Lane, say: Say) -> Closing:
        found = compare_lane(self._settings, self._spec, lane, *self._plan.certain(0), say)
        differing = [one.output for one in found if not one.equal]
        if differing:
            return Closing(False, f"The shadow differs from the live {', '.join(differing)}.")
        return Closing(True, "Proven: the shadow holds what the live"
                             f" {', '.join(one.output for one in found)} hold of the span.")


def _shadow_words(verdict: Verdict) -> Closing:
    # More than is committed may stand there: it reads what ingest took back later, too.
    lacking = [store for store in verdict.stores if store.missing.count or store.different.count]
    if lacking:
        return Closing(False, f"The shadow is not whole: {_differences(verdict)}.")
    extra = sum(store.extra.count for store in verdict.stores)
    words = (f"Proven: each of {verdict.events:,} committed events of the span stands in the"
             " shadow, unchanged, or has a dead letter there. Not compared: the live ones.")
    return Closing(True, words + (
        f" {extra:,} more stand there that are not committed in the span." if extra else ""))


def _differences(verdict: Verdict) -> str:
    return "; ".join(_of(store) for store in verdict.stores if not store.equal)


def _of(store: StoreFindings) -> str:
    return (f"{store.title}: {store.missing.count:,} missing, {store.extra.count:,} extra,"
            f" {store.different.count:,} different")
