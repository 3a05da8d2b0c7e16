"""Counts and digests by hour and share of tenants: small, whatever the number of events."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

_HOUR_MICROS = 3_600_000_000
# So many that a bucket which differs is read out quickly, so few that all of them fit in memory.
PARTS = 32

# The hour since 1970 in which the events happened, and the share of tenants.
Bucket = tuple[int, int]


def part_of(tenant: str) -> int:
    """Return a tenant's share; tables compute the same in SQL."""
    return int(hashlib.md5(tenant.encode()).hexdigest()[:2], 16) % PARTS  # noqa: S324 - no secret


def bucket_of(tenant: str, occurred_at: int) -> Bucket:
    """Return the bucket of an event, its time in microseconds."""
    return occurred_at // _HOUR_MICROS, part_of(tenant)


@dataclass
class Sum:
    """What a bucket holds: how many, and their digests added up, so that order does not matter."""

    count: int = 0
    digest: int = 0


@dataclass
class Tally:
    """The sums of all buckets."""

    sums: dict[Bucket, Sum] = field(default_factory=dict)

    def add(self, bucket: Bucket, count: int, digest: int) -> None:
        """Count something into a bucket."""
        total = self.sums.setdefault(bucket, Sum())
        total.count += count
        total.digest += digest

    @property
    def count(self) -> int:
        """How many there are in all buckets."""
        return sum(total.count for total in self.sums.values())

    def differing(self, other: "Tally") -> list[Bucket]:
        """Return the buckets that are not the same in both, the earliest first."""
        empty = Sum()
        return sorted(
            bucket for bucket in self.sums.keys() | other.sums.keys()
            if self.sums.get(bucket, empty) != other.sums.get(bucket, empty)
        )

    def largest(self, buckets: Iterable[Bucket]) -> int:
        """Return how many events the buckets hold together."""
        return sum(self.sums[bucket].count for bucket in buckets if bucket in self.sums)
