"""Addresses of state: compared as Flink writes them, and what they tell of whose state it is."""

import re

_FILE = "/_metadata"
# Flink names a checkpoint's folder after its job, and a savepoint's after the id's beginning.
_CHECKPOINT = re.compile(r"/([0-9a-f]{32})/chk-\d+$")
_SAVEPOINT = re.compile(r"/savepoint-([0-9a-f]{6})-[0-9a-f]{12}$")
_SLASHES = re.compile("/+")


def normal(address: str) -> str:
    """Return an address as Flink writes it: file:///a//b/ and /a/b/_metadata are file:/a/b."""
    scheme, colon, rest = address.partition(":")
    if not colon or "/" in scheme:
        # Without a scheme Flink looks on its disk.
        return f"file:{_clean(address)}" if address.startswith("/") else address
    if rest.startswith("//") and not rest.startswith("///"):
        server, slash, path = rest[2:].partition("/")
        return f"{scheme}://{server}{_clean(slash + path)}"
    return f"{scheme}:{_clean(rest)}"


def job_in(address: str) -> str | None:
    """Return how the id of the Flink job begins whose state lies at an address."""
    where = normal(address)
    found = _CHECKPOINT.search(where) or _SAVEPOINT.search(where)
    return found[1] if found else None


def _clean(path: str) -> str:
    return _SLASHES.sub("/", path).rstrip("/").removesuffix(_FILE)
