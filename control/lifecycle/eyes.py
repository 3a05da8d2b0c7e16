"""Looking at jobs: an observer that waits while Flink is away, and never acts."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from control.errors import SluiceError, TimedOutError
from control.flink import FlinkAwayError, FlinkClient, FlinkUnknownError
from control.flink_answers import ENDED, Checkpoints
from control.lifecycle.book import Clock
from jobs.spec import Health

T = TypeVar("T")

_POLL_SECONDS = 0.1
# A JobManager that has just come back may not have found its jobs yet.
_UNKNOWN_SECONDS = 5.0
_REFRESH = "web.refresh-interval"
_REFRESH_DEFAULT = "3000"
_LONGEST_REFRESH = 10.0
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0}


@dataclass(frozen=True)
class Sight:
    """What can be seen of a job at one moment."""

    # None: Flink does not know the job.
    state: str | None
    # Whether every task runs.
    all_run: bool = False
    restarts: int = 0
    checkpoints: Checkpoints | None = None
    # Messages behind, where the sources tell.
    lag: int | None = None
    judged: int = 0
    refused: int = 0
    exception: str | None = None
    started: float | None = None
    # Names of tasks that wait for those after them, with their share of time.
    backpressure: Mapping[str, float] = field(default_factory=dict)
    watermark_delay: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether it will never run again by itself."""
        return self.state in ENDED

    @property
    def share_refused(self) -> float:
        """The share of what was judged that was refused."""
        return self.refused / self.judged if self.judged else 0.0


class Eyes:
    """Looks at jobs in Flink, patiently."""

    def __init__(
        self, flink: FlinkClient, clock: Clock, patience_seconds: float = 120,
    ) -> None:
        self.flink = flink
        self._clock = clock
        self._patience = patience_seconds
        self._settings: Mapping[str, str] | None = None

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask again while Flink is away, a JobManager that starts again for instance."""
        deadline = self._clock.now() + self._patience
        while True:
            try:
                return ask()
            except FlinkAwayError:
                if self._clock.now() > deadline:
                    raise
                self._clock.sleep(0.5)

    def settings(self) -> Mapping[str, str]:
        """Return Flink's own settings: asked when somebody needs them, then remembered."""
        if self._settings is None:
            # Nobody may take "it did not answer" for "it has none": state is found by these.
            self._settings = self.patiently(self.flink.cluster_settings)
        return self._settings

    def state(self, job: str) -> str | None:
        """Return a job's state; None when Flink does not know it."""
        return self.patiently(lambda: self.flink.state(job))

    def find(self, job: str) -> str | None:
        """Return a job's state; None when Flink goes on not to know it for a while."""
        deadline = self._clock.now() + _UNKNOWN_SECONDS
        while True:
            state = self.state(job)
            if state is not None or self._clock.now() > deadline:
                return state
            self._clock.sleep(_POLL_SECONDS)

    def wait(
        self, what: str, seconds: float, look: Callable[[], T | None]
    ) -> T:
        """Return the first answer that is one, or time out."""
        deadline = self._clock.now() + seconds
        while True:
            found = self.patiently(look)
            if found is not None:
                return found
            if self._clock.now() > deadline:
                message = f"After {seconds:.0f} s: not {what}."
                raise TimedOutError(message)
            self._clock.sleep(_POLL_SECONDS)

    def final_checkpoints(self, job: str) -> Checkpoints:
        """Return the checkpoints of a job that is over: none of its last seconds is missing."""
        # Flink may have kept an answer from before the end.
        self._clock.sleep(self._refresh() + 0.2)
        return self.patiently(lambda: self.flink.checkpoints(job))

    def savepoint_size(self, job: str, path: str) -> int | None:
        """Return how large a savepoint of a job is, where Flink still tells."""
        found = self.patiently(lambda: _or_none(partial(self.flink.checkpoints, job)))
        last = found.last_savepoint if found is not None else None
        same = last is not None and last.path.rstrip("/") == path.rstrip("/")
        return last.size if last is not None and same else None

    def exception(self, job: str) -> str | None:
        """Return why a job has just failed, as soon as Flink tells."""
        deadline = self._clock.now() + self._refresh() + 1
        while True:
            found = self.patiently(lambda: _or_none(partial(self.flink.last_exception, job)))
            if found is not None or self._clock.now() > deadline:
                return found
            self._clock.sleep(_POLL_SECONDS)

    def _refresh(self) -> float:
        """Return for how many seconds Flink gives the same answers about a job."""
        return _seconds(self.settings().get(_REFRESH, _REFRESH_DEFAULT))

    def wait_until_over(self, job: str, seconds: float) -> str | None:
        """Wait until a job has ended, or is unknown for a while; return how it ended."""
        unknown_since: list[float] = []

        def over() -> list[str | None] | None:
            state = self.flink.state(job)
            if state is not None:
                unknown_since.clear()
                return [state] if state in ENDED else None
            unknown_since.append(self._clock.now())
            return [None] if self._clock.now() - unknown_since[0] > _UNKNOWN_SECONDS else None

        return self.wait(f"ended (job {job})", seconds, over)[0]

    def sight(self, job: str, health: Health, *, closely: bool = False) -> Sight:
        """Look at a job; closely also at what slows it."""
        return self.patiently(lambda: self._look(job, health, closely=closely))

    def _look(self, job: str, health: Health, *, closely: bool) -> Sight:
        flink = self.flink
        now = flink.job(job)
        if now is None:
            return Sight(None)
        try:
            vertices = list(flink.details(job).get("vertices", []))
        except FlinkUnknownError:
            return Sight(None)
        counts: Counter[str] = Counter()
        pressure: dict[str, float] = {}
        delays: list[float] = []
        for vertex in vertices:
            number = str(vertex["id"])
            counts.update(self._counts(job, number, health))
            if closely:
                share = _or_none(partial(flink.backpressure, job, number))
                if share is not None:
                    pressure[str(vertex["name"])] = share
                delays += self._delays(job, number)
        metrics = _or_none(partial(flink.job_metrics, job, ["numRestarts"])) or {}
        return Sight(
            state=now.state,
            all_run=now.all_run,
            restarts=int(metrics.get("numRestarts", 0)),
            checkpoints=_or_none(partial(flink.checkpoints, job)),
            lag=int(counts["lag"]) if "lag" in counts else None,
            judged=int(counts["judged"]), refused=int(counts["refused"]),
            exception=_or_none(partial(flink.last_exception, job)),
            started=now.started / 1000,
            backpressure=pressure,
            watermark_delay=max(delays, default=None),
        )

    def _counts(self, job: str, vertex: str, health: Health) -> Counter[str]:
        """Return lag, judged and refused messages, as far as a task counts them."""
        ends = {"lag": (".pendingRecords",), "judged": health.judged, "refused": health.refused}
        names = [name for name in _or_none(partial(self.flink.metric_names, job, vertex)) or []
                 if any(name.endswith(wanted) for wanted in ends.values())]
        if not names:
            return Counter()
        found = _or_none(partial(self.flink.vertex_metrics, job, vertex, names)) or {}
        # A refused message was judged, too: a name may count for both.
        return Counter({
            kind: int(sum(value for name, value in found.items() if name.endswith(wanted)))
            for kind, wanted in ends.items() if any(name.endswith(wanted) for name in found)
        })

    def _delays(self, job: str, vertex: str) -> list[float]:
        name = "currentInputWatermark"
        found = _or_none(partial(self.flink.vertex_metrics, job, vertex, [name], "min")) or {}
        # Before the first event it is the smallest number there is.
        return [self._clock.now() - value / 1000 for value in found.values() if value > 0]


def _or_none(ask: Callable[[], T]) -> T | None:
    """Return nothing where Flink has no such thing yet: a task that has just been placed."""
    try:
        return ask()
    except FlinkAwayError:
        raise
    except SluiceError:
        return None


def _seconds(text: str) -> float:
    """Read a duration as Flink writes it: 3000, 3000 ms, 3 s."""
    found = re.fullmatch(r"(\d+)\s*(ms|s|min)?", text.strip())
    return int(found[1]) * _UNITS[found[2] or "ms"] if found else _LONGEST_REFRESH
