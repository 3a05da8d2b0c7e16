"""What a rule finds, and what a person is told of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """What one rule found at one place: what is wrong, and how to mend it."""

    path: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """A problem with everything needed to find it."""

    domain: str
    version: str
    # The version that it was compared with; empty where the version is wrong by itself.
    against: str
    path: str
    rule: str
    message: str
    remedy: str


def rule_name(rule: object) -> str:
    """Return a rule's name as it is shown."""
    return str(getattr(rule, "__name__", rule)).replace("_", "-")


def found(
    rule: object, problems: Iterable[Problem], domain: str, version: str = "", against: str = ""
) -> Iterator[Finding]:
    """Turn a rule's problems into findings."""
    for problem in problems:
        yield Finding(domain, version, against, problem.path, rule_name(rule), problem.message,
                      problem.remedy)
