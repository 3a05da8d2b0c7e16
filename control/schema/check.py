"""All the rules over all the schemas: what a deploy must not go against."""

from collections.abc import Iterable, Iterator, Sequence

from control.registry import RegistryClient
from control.schema.evolution import PAIR_RULES, pairs
from control.schema.files import Family, Version, same_names
from control.schema.findings import Finding, Problem, found
from control.schema.model import NotAvroError
from control.schema.registration import Standing, registered_versions_stay, second_judge
from control.schema.samples import every_sample_can_be_read
from control.schema.wellformed import (
    FAMILY_RULES,
    PLACE_RULES,
    VERSION_RULES,
    is_avro,
    places,
)


def check_files(families: Sequence[Family], everything: Sequence[Family]) -> list[Finding]:
    """Check schemas from the files alone: each by itself, then each with all before it."""
    findings = list(one_folder_for_each_record(families, everything))
    for family in families:
        for rule in FAMILY_RULES:
            findings += found(rule, rule(family), family.domain)
        for version in family.versions:
            findings += _check_version(family, version)
        readable = [version for version in family.versions if _is_readable(version)]
        for place, new in enumerate(readable):
            for old in readable[:place]:
                findings += _compare(family.domain, old, new)
    return findings


def check_registered(registry: RegistryClient, standings: Iterable[Standing]) -> list[Finding]:
    """Check schemas against what is registered, and ask the registry itself."""
    findings: list[Finding] = []
    for standing in standings:
        family = standing.family
        if family is None:
            continue
        findings += found(registered_versions_stay, registered_versions_stay(standing),
                          family.domain)
        newest = family.versions[-1] if family.versions else None
        if newest is None or not _is_readable(newest):
            continue
        for old in standing.foreign:
            if _is_readable(old):
                findings += _compare(family.domain, old, newest)
        for version, problem in second_judge(registry, standing):
            findings += found("the-registry-accepts-it", [problem], family.domain, version.label)
    return findings


def _check_version(family: Family, version: Version) -> Iterator[Finding]:
    broken = list(found(is_avro, is_avro(version), family.domain, version.label))
    if broken:
        yield from broken
        return
    for rule in VERSION_RULES:
        yield from found(rule, rule(family, version), family.domain, version.label)
    for place in places(version.shape):
        for place_rule in PLACE_RULES:
            broken += found(place_rule, place_rule(place), family.domain, version.label)
    # The rules explain better what the samples would show again.
    yield from broken or found(
        every_sample_can_be_read, every_sample_can_be_read(version, version), family.domain,
        version.label,
    )


def _compare(domain: str, old: Version, new: Version) -> Iterator[Finding]:
    broken = [
        finding for pair in pairs(old.shape, new.shape) for rule in PAIR_RULES
        for finding in found(rule, rule(pair), domain, new.label, old.label)
    ]
    yield from broken or found(
        every_sample_can_be_read, every_sample_can_be_read(old, new), domain, new.label, old.label
    )


def _is_readable(version: Version) -> bool:
    try:
        _ = version.shape
    except NotAvroError:
        return False
    return True


def one_folder_for_each_record(
    families: Sequence[Family], everything: Sequence[Family]
) -> Iterator[Finding]:
    """Refuse a record that two folders claim."""
    for subject, folders in same_names(everything).items():
        for family in families:
            if family.domain in folders:
                problem = Problem("", f"{subject} is in {' and in '.join(folders)}",
                                  "give one of the two records another name")
                yield from found(one_folder_for_each_record, [problem], family.domain)
