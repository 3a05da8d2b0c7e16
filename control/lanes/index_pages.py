"""The documents that a run has written of a span, in one order for both sides."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from pydantic import SecretStr

from control.errors import RefusedError
from control.reconcile.span import Span, exact_moment
from control.search import ask, search
from jobs.spec import Output

# Elasticsearch does not sort by _id; a document carries it as this.
_KEY = "event_id"
_PAGE = 2_000
_KEEP_ALIVE = "5m"


@dataclass(frozen=True)
class Found:
    """One document as it lies in a daily index."""

    id: str
    # What follows the beginning of the index's name, the same on both sides.
    day: str
    version: int
    source: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same as one on the other side."""
        return self.id, self.day


Pair = tuple[Found | None, Found | None]


def days_of(prefix: str) -> str:
    """Return the pattern of all daily indices whose names begin so."""
    return f"{prefix}*.*.*"


def check_time(output: Output) -> None:
    """Refuse an output whose documents do not tell their time."""
    if not output.time:
        message = f"It is not known which field of {output.title} tells the time of a document."
        raise RefusedError(message, "Name it in the spec of the job: `time` of the output.")


def documents(url: SecretStr, prefix: str, time: str, span: Span) -> Iterator[Found]:
    """Yield all documents of a span as they are now, by key."""
    pattern = days_of(prefix)
    ask("POST", url, f"/{pattern}/_refresh?ignore_unavailable=true")
    opened = ask(
        "POST", url, f"/{pattern}/_pit?keep_alive={_KEEP_ALIVE}&ignore_unavailable=true"
    )
    if not opened:
        return
    point = opened["id"]
    try:
        after: list[Any] | None = None
        while True:
            answer = search(url, "/_search", {
                "size": _PAGE, "track_total_hits": False, "version": True,
                "query": {"range": {time: {
                    "gte": exact_moment(span.first), "lt": exact_moment(span.end),
                }}},
                "sort": [{_KEY: "asc"}, {"_index": "asc"}],
                "pit": {"id": point, "keep_alive": _KEEP_ALIVE},
                **({"search_after": after} if after else {}),
            })
            point = answer.get("pit_id", point)
            hits = answer["hits"]["hits"]
            for hit in hits:
                yield Found(
                    hit["_id"], hit["_index"].removeprefix(prefix), int(hit["_version"]),
                    hit["_source"],
                )
            if len(hits) < _PAGE:
                return
            # The last value is of the point in time itself.
            after = hits[-1]["sort"]
    finally:
        ask("DELETE", url, "/_pit", {"id": point})


def side_by_side(live: Iterable[Found], shadow: Iterable[Found]) -> Iterator[Pair]:
    """Yield each document with its twin, or with none; both sides come in the order of keys."""
    ours, theirs = iter(live), iter(shadow)
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.key < right.key):
            yield left, None
            left = next(ours, None)
        elif left is None or right.key < left.key:
            yield None, right
            right = next(theirs, None)
        else:
            yield left, right
            left, right = next(ours, None), next(theirs, None)


def digest_of_source(source: dict[str, Any], without: Iterable[str] = ()) -> bytes:
    """Return the digest of a document; in what order it was written does not matter."""
    left = {name: value for name, value in source.items() if name not in without}
    return blake2b(json.dumps(left, sort_keys=True).encode(), digest_size=16).digest()
