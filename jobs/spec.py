"""What is known of a job without building it; written into the archive of its code."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


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


@dataclass(frozen=True)
class Output:
    """Where a job writes, and what happens when it writes something a second time."""

    name: str
    # Whether going back to an older state, and so writing again, changes nothing for readers.
    harmless: bool
    again: str


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

    strategy: str = "savepoint"
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

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of where it writes."""
        return tuple(output.name for output in self.writes)

    def as_json(self) -> dict[str, Any]:
        """Return the spec as it is kept."""
        return asdict(self)


def spec_from_json(content: Mapping[str, Any]) -> JobSpec:
    """Read a spec that another version of this code may have written."""
    values = _known(JobSpec, content)
    values["inputs"] = tuple(values.get("inputs", ()))
    values["writes"] = tuple(Output(**_known(Output, one)) for one in values.get("writes", ()))
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


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in content.items() if key in names}
