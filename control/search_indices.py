"""The daily indices of events: listed, and dropped when they are older than what is kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from control.search import ask
from udfs.documents import day_of
from udfs.search_store import oldest_day

_PATTERN = "events-*"


@dataclass(frozen=True)
class Index:
    """One day's index."""

    name: str
    documents: int
    size: int
    expired: bool


def list_indices(url: SecretStr, keep_days: int) -> list[Index]:
    """Return the daily indices, the newest first; an index of another name is nobody's here."""
    kept = "indices.*.primaries,_shards.failures"
    answer = ask("GET", url, f"/{_PATTERN}/_stats/docs,store?filter_path={kept}")
    oldest = oldest_day(time.time(), keep_days)
    found = []
    for name, stats in answer.get("indices", {}).items():
        if (day := day_of(name)) is not None:
            primaries = stats["primaries"]
            found.append(Index(
                name, int(primaries["docs"]["count"]), int(primaries["store"]["size_in_bytes"]),
                day < oldest,
            ))
    return sorted(found, key=lambda index: index.name, reverse=True)


def drop_expired(
    url: SecretStr, keep_days: int, report: Callable[[Index], None]
) -> list[Index]:
    """Drop the indices that are older than what is kept; one that is gone already is no error."""
    dropped = [index for index in list_indices(url, keep_days) if index.expired]
    for index in dropped:
        ask("DELETE", url, f"/{index.name}")
        report(index)
    return dropped
