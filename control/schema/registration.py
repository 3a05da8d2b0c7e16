"""What the registry holds of the schemas in git, and bringing it what it lacks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from control.registry import COMPATIBILITY, Registered, RegistryClient
from control.schema.files import Family, Version
from control.schema.findings import Problem
from control.schema.model import NotAvroError
from control.schema.words import changes

# This one asks for more than ours; somebody chose it.
_GOOD_RULES = frozenset({COMPATIBILITY, "FULL_TRANSITIVE"})


class State(Enum):
    """How the registry stands to git; the value is what a person reads."""

    IN_STEP = "in step"
    NOT_REGISTERED = "not registered"
    DIFFERS = "differs"
    ONLY_IN_REGISTRY = "only in registry"


@dataclass(frozen=True)
class Standing:
    """A subject in git and in the registry."""

    subject: str
    family: Family | None
    registered: tuple[Registered, ...]

    def holds(self, version: Version) -> Registered | None:
        """Return the registered version with the content of one in git."""
        found = (entry for entry in self.registered
                 if as_version(entry).identity == version.identity)
        return next(found, None)

    @property
    def missing(self) -> list[Version]:
        """The versions in git that the registry does not hold, the oldest first."""
        versions = self.family.versions if self.family else ()
        return [version for version in versions if self.holds(version) is None]

    @property
    def foreign(self) -> list[Version]:
        """The registered versions that no file has the content of."""
        versions = self.family.versions if self.family else ()
        known = {version.identity for version in versions}
        found = map(as_version, self.registered)
        return [version for version in found if version.identity not in known]

    @property
    def state(self) -> State:
        """The one word for it."""
        if self.family is None:
            return State.ONLY_IN_REGISTRY
        if any(True for _ in registered_versions_stay(self)):
            return State.DIFFERS
        return State.NOT_REGISTERED if self.missing else State.IN_STEP


def as_version(entry: Registered) -> Version:
    """Look at a registered schema as at a file."""
    return Version(entry.version, entry.schema, f"registered v{entry.version}")


def look(registry: RegistryClient, families: Sequence[Family]) -> list[Standing]:
    """Read what the registry holds of these schemas; nothing is changed."""
    return [
        Standing(family.subject, family, _registered(registry, family.subject))
        for family in families
    ]


def look_at_others(registry: RegistryClient, families: Sequence[Family]) -> list[Standing]:
    """Read what the registry holds besides these schemas."""
    known = {family.subject for family in families}
    return [
        Standing(subject, None, _registered(registry, subject))
        for subject in registry.subjects() if subject not in known
    ]


def _registered(registry: RegistryClient, subject: str) -> tuple[Registered, ...]:
    if not subject:
        return ()
    return tuple(registry.version(subject, number) for number in registry.versions(subject))


def registered_versions_stay(standing: Standing) -> Iterator[Problem]:
    """Refuse a file that was edited after it was registered: events carry that schema's id."""
    if standing.family is None:
        return
    numbers = {entry.version: entry for entry in standing.registered}
    explained = set()
    last = max((version.number for version in standing.family.versions
                if standing.holds(version)), default=0)
    for version in standing.family.versions:
        held = standing.holds(version)
        other = held or numbers.get(version.number)
        if held is None and other is not None:
            explained.add(other.version)
        if other is not None and as_version(other).meaning != version.meaning:
            yield _edited(version, other)
        elif other is None and version.number < last:
            yield Problem("", f"{version.label} is not registered, but a later version is",
                          f"number {version.label} as the newest version")
    for version in standing.foreign:
        if version.number not in explained:
            yield Problem(
                "", f"the registry holds a version {version.number} that is not in git",
                f"add it: sluice schema show {standing.subject} --version {version.number} --json"
                " prints it; or your checkout is old",
            )


def _edited(version: Version, other: Registered) -> Problem:
    try:
        said = changes(as_version(other).shape, version.shape)
    except NotAvroError as error:
        said = [error.message]
    what = ", ".join(said) if said else "order, aliases or attributes differ"
    return Problem(
        "", f"{version.label}.avsc was edited after it was registered (id {other.id}): {what}",
        f"restore {version.label}.avsc, and put the change into a new version",
    )


def second_judge(registry: RegistryClient, standing: Standing) -> Iterator[tuple[Version, Problem]]:
    """Ask the registry whether it would take the newest version and those it lacks."""
    if standing.family is None or not standing.registered or not standing.family.versions:
        return
    newest = standing.family.versions[-1]
    for version in [*(entry for entry in standing.missing if entry is not newest), newest]:
        if not registry.is_compatible(standing.subject, version.schema):
            yield version, Problem(
                "", f"the registry would refuse {version.label}",
                "mend what the other findings name; the registry gives no reason",
            )


def weak_rule(registry: RegistryClient, subject: str) -> str:
    """Return the registry's rule for a subject where it lets more through than ours; or nothing."""
    rule = registry.compatibility(subject)
    return "" if rule in _GOOD_RULES else rule


@dataclass(frozen=True)
class Registration:
    """A version that was new to the registry; without an id if it was only planned."""

    subject: str
    domain: str
    version: int
    id: int | None


def plan(standings: Sequence[Standing]) -> list[Registration]:
    """Return what a registration would bring."""
    return [
        Registration(standing.subject, standing.family.domain, version.number, None)
        for standing in standings if standing.family for version in standing.missing
    ]


def register(
    registry: RegistryClient, standings: Sequence[Standing],
    report: Callable[[Registration], None] = lambda _: None,
) -> list[Registration]:
    """Register what is missing, the oldest version first; set the subject's rule where it must."""
    done = []
    for standing in standings:
        if standing.family is None or not standing.family.versions:
            continue
        if weak_rule(registry, standing.subject):
            registry.set_compatibility(COMPATIBILITY, standing.subject)
        for version in standing.missing:
            number = registry.register(standing.subject, version.schema)
            done.append(Registration(
                standing.subject, standing.family.domain, version.number, number
            ))
            report(done[-1])
    return done
