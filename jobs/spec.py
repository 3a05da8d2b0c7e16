"""What is known of a job without building it; written into the archive of its code."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields
from enum import StrEnum
from typing import Any

# How the form of a sink's open transactions begins.
TRANSACTIONS = "kafka-transactions"


@dataclass(frozen=True)
class StatePart:
    """State that a job keeps under a uid."""

    uid: str
    # Name and version of the form in which it is kept; another one cannot be read unless it is
    # in `reads`.
    form: str
    what: str
    # Older forms that this code can read as well.
    reads: tuple[str, ...] = ()


class OutputKind(StrEnum):
    """What a job writes into."""

    TOPIC = "topic"
    TABLE = "table"
    # The daily indices behind an alias.
    INDEX = "index"


@dataclass(frozen=True)
class Output:
    """Where a job writes, and what happens when it writes something a second time."""

    name: str
    kind: OutputKind = OutputKind.TOPIC
    _: KW_ONLY
    # Whether going back to an older state, and so writing again, changes nothing for readers.
    harmless: bool
    again: str
    # How what two runs wrote is compared: what makes a record the same one, which of its fields
    # tell of the run and not of the message. Without them the whole record is both. A row and a
    # document have a key of their own.
    identity: tuple[str, ...] = ()
    of_the_run: tuple[str, ...] = ()
    # The field with the time of what it was made from, in microseconds; none: the record's own.
    time: str = ""
    # Where several jobs write: the field that tells which one wrote a record, and what it says in
    # those of this job. Without them all records are its own.
    whose: str = ""
    own: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """How it is called in messages."""
        return self.name if self.kind is OutputKind.TOPIC else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Health:
    """When a job counts as well."""

    max_restarts: int = 0
    max_checkpoint_age_seconds: float = 120
    # Messages that it may be behind.
    max_lag: int = 10_000
    # How the names of Flink's metrics end that count what it judged, and what of it it refused.
    judged: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    # The share that may always be refused; above, not more than twice what was refused before.
    max_refused: float = 0.01


@dataclass(frozen=True)
class UpgradePolicy:
    """How a new version is tried."""

    # "savepoint", "last-state" or "shadow".
    strategy: str = "savepoint"
    # How long a new version is tried beside the old one with "shadow".
    trial_seconds: float = 60
    # Both must have passed before it counts as good.
    checkpoints: int = 3
    watch_seconds: float = 30
    # How long it may take until then.
    give_up_seconds: float = 300
    # How old a checkpoint may be to go on from when no savepoint can be taken.
    max_checkpoint_age_seconds: float = 600


@dataclass(frozen=True)
class JobSpec:
    """What must be known of a job to operate it."""

    name: str
    purpose: str
    # Imported only where the job is built: importing PyFlink takes a second.
    module: str
    inputs: tuple[str, ...]
    writes: tuple[Output, ...]
    # "process" or "thread": state of one mode is not found in the other.
    mode: str = "process"
    max_parallelism: int = 720
    state: tuple[StatePart, ...] = ()
    # Subjects that must be registered.
    schemas: tuple[str, ...] = ()
    # Migrations up to this number must be applied.
    migration: int = 0
    # The setting that holds its parallelism, and the beginnings of those that shape it.
    parallelism_setting: str = ""
    settings: tuple[str, ...] = ()
    health: Health = Health()
    upgrade: UpgradePolicy = UpgradePolicy()
    # Whether its code can run in a lane beside itself; that which is older cannot.
    lanes: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Where it writes, for a person."""
        return tuple(output.title for output in self.writes)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that it reads and writes."""
        written = (one.name for one in self.writes if one.kind is OutputKind.TOPIC)
        return (*self.inputs, *written)

    def as_json(self) -> dict[str, Any]:
        """Return the spec as it is kept."""
        return asdict(self)


def spec_from_json(content: Mapping[str, Any]) -> JobSpec:
    """Read a spec that another version of this code may have written."""
    values = _known(JobSpec, content)
    values["inputs"] = tuple(values.get("inputs", ()))
    values["writes"] = tuple(_output(one) for one in values.get("writes", ()))
    values["state"] = tuple(
        StatePart(**{**_known(StatePart, one), "reads": tuple(one.get("reads", ()))})
        for one in values.get("state", ())
    )
    for name in ("schemas", "settings"):
        values[name] = tuple(values.get(name, ()))
    health = _known(Health, values.get("health", {}))
    for name in ("judged", "refused"):
        health[name] = tuple(health.get(name, ()))
    values["health"] = Health(**health)
    values["upgrade"] = UpgradePolicy(**_known(UpgradePolicy, values.get("upgrade", {})))
    return JobSpec(**values)


def _output(content: Mapping[str, Any]) -> Output:
    # Before there were kinds, a table was called "table events".
    first, space, name = str(content["name"]).partition(" ")
    values = {"kind": first, **content, "name": name} if space else dict(content)
    known = _known(Output, values)
    lists = {name: tuple(known.get(name, ())) for name in ("identity", "of_the_run", "own")}
    kind = OutputKind(known.get("kind", OutputKind.TOPIC))
    return Output(**{**known, **lists, "kind": kind})


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in content.items() if key in names}
