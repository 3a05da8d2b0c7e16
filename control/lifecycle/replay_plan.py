"""What a replay will do, decided before anything is: a value that can be printed and kept."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from control.errors import RefusedError
from control.events.reader import Spans
from control.lanes.history import Stretch
from control.lifecycle.decide import new_id
from control.lifecycle.deployments import Release
from control.lifecycle.preflight import Check, Verdict
from control.lifecycle.workplace import Workplace
from control.reconcile.span import moment
from jobs.lane import Into, Lane
from jobs.spec import JobSpec, OutputKind, spec_from_json

_SUFFIX = "-replay"
# Each job's own topic of letters: one more of them harms nobody.
_LETTERS = "events.dlq"


def replay_job(job: str) -> str:
    """Return the name that replays of a job are held and remembered by.

    It is not the job's own, so that the job can be upgraded meanwhile; and it is one, so that only
    one replay of a job runs at a time.
    """
    return f"{job}{_SUFFIX}"


@dataclass(frozen=True)
class ReplayPlan:
    """A run of a job's code over a span of history, beside the live job."""

    job: str
    release: Release
    into: Into
    # What Kafka took from then on, and before that, in milliseconds since 1970.
    first: int
    end: int
    rate: int | None
    # The id of its first job in Flink; those that follow a failed one are made from it.
    flink_job: str
    # What there was to read when it was planned.
    spans: Mapping[str, Spans]

    @property
    def spec(self) -> JobSpec:
        """The job, as its release knows it."""
        return spec_from_json(self.release.spec)

    @property
    def messages(self) -> int:
        """About how many there are to read: markers of transactions count as well."""
        return Stretch(dict(self.spans)).messages

    def lane(self, operation: int) -> Lane:
        """Return where it reads and writes."""
        return Lane(f"replay-{operation}", self.into, self.first, self.end, self.rate)

    def certain(self, margin_seconds: float) -> tuple[int, int]:
        """Return the part of the span, in microseconds, whose records it has surely read.

        What goes into a store is read by Kafka's time and remembered by the time of cleaning. Near
        the ends of the span a live row may be of a message that lies outside of it.
        """
        margin = round(margin_seconds * 1e6) if is_store(self.spec) else 0
        first, end = self.first * 1000 + margin, self.end * 1000 - margin
        if first >= end:
            message = f"The span is too short to leave {margin_seconds:g} s out at both ends."
            raise RefusedError(
                message, "Replay a longer one, or give --margin: how long after its cleaning an"
                         " event may at most have come into Kafka."
            )
        return first, end

    def as_json(self) -> dict[str, Any]:
        """Return the plan as it is kept."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say what will be done, for a person."""
        pace = ("as fast as it can" if self.rate is None else
                f"{self.rate:,} a second at most, for"
                f" {timedelta(seconds=round(self.messages / self.rate))} or more")
        topics = ", ".join(self.spans)
        return [
            f"run version {self.release.version} of {self.job} with {self.release.parallelism}"
            " tasks beside the live job, under a group and transactions of its own",
            f"read what {topics} took from {moment(self.first * 1000)} to"
            f" {moment(self.end * 1000)}: about {self.messages:,} messages, {pace}",
            self._where(),
            "compare what came out with what should have",
        ]

    def _where(self) -> str:
        if self.into is Into.SHADOW:
            return ("write beside what is there: "
                    + ", ".join(f"a shadow of {name}" for name in self.spec.outputs))
        return "write into what is there: " + ", ".join(self.spec.outputs)

    def effects(self) -> list[str]:
        """Say of each output what writing into it again does, where that is not harmless."""
        if self.into is not Into.LIVE:
            return []
        return [f"{output.title}: {output.again}" for output in self.spec.writes
                if not output.harmless]

    @property
    def is_harmless(self) -> bool:
        """Whether it can be done without asking: dead letters may come twice."""
        return self.into is not Into.LIVE or all(
            output.harmless or output.name == _LETTERS for output in self.spec.writes
        )


def replay_plan_from_json(content: Mapping[str, Any]) -> ReplayPlan:
    """Read a plan that was kept."""
    spans = {topic: {int(part): (int(first), int(end)) for part, (first, end) in found.items()}
             for topic, found in content["spans"].items()}
    return ReplayPlan(**{
        **content, "release": Release(**content["release"]), "into": Into(content["into"]),
        "spans": spans,
    })


@dataclass(frozen=True)
class ReplayWish:
    """What the person asked for."""

    into: Into
    first: datetime
    end: datetime
    rate: int | None = None
    parallelism: int | None = None
    allow_cut: bool = False


def find_release(place: Workplace, job: str, parallelism: int | None) -> Release:
    """Return the code that runs, or that ran well last; refused where it cannot run beside it."""
    found = place.deployments.live(job) or place.deployments.last_good(job)
    if found is None:
        message = f"{job} was never deployed: there is no version that a replay could run."
        raise RefusedError(message, f"`sluice deploy {job}` first.")
    release = found.release
    if not spec_from_json(release.spec).lanes:
        message = (f"Version {release.version} of {job} knows no replays: its code would run as"
                   " a second live job.")
        raise RefusedError(message, f"`sluice upgrade {job}` first: this version's code does.")
    return release if parallelism is None else release.at(parallelism)


def decide_replay(release: Release, wish: ReplayWish, stretch: Stretch) -> ReplayPlan:
    """Decide how to replay what was found."""
    return ReplayPlan(release.job, release, wish.into, millis(wish.first), millis(wish.end),
                      wish.rate, new_id(), stretch.spans)


def check_history(wish: ReplayWish, stretch: Stretch) -> list[Check]:
    """Judge what Kafka still has of the span."""
    messages = stretch.messages
    found = [Check(
        "messages", Verdict.GOOD if messages else Verdict.BAD,
        f"about {messages:,} to read" if messages else "nothing came in this span",
        "" if messages else "Choose another --from or --to; times are those at which Kafka took"
                            " a message.",
    )]
    back = stretch.reaches_back
    if back is None:
        found.append(Check("history", Verdict.GOOD, "Kafka has all of the span"))
    else:
        found.append(Check(
            "history", Verdict.WARNING if wish.allow_cut else Verdict.BAD,
            f"Kafka has all of it only since {moment(back * 1000)}",
            "What is gone is left out, as allowed." if wish.allow_cut else
            f"--from {datetime.fromtimestamp(back / 1000 + 1, UTC):%Y-%m-%dT%H:%M:%S}, or leave"
            " out what is gone: --allow-cut.",
        ))
    return found


def is_store(spec: JobSpec) -> bool:
    """Tell whether a job writes events into a store."""
    return any(output.kind is not OutputKind.TOPIC for output in spec.writes)


def millis(time: datetime) -> int:
    """Return a moment as Kafka writes it."""
    return round(time.timestamp() * 1000)
