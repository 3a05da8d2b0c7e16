"""Addresses of state: compared as Flink writes them, and what they tell of whose state it is."""

import re

_FILE = "/_metadata"
_CHECKPOINT = re.compile(r"/([0-9a-f]{32})/chk-\d+$")
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


def job_of_checkpoint(address: str) -> str | None:
    """Return the Flink job whose checkpoint lies at an address: Flink's folders are named so."""
    found = _CHECKPOINT.search(normal(address))
    return found[1] if found else None


def _clean(path: str) -> str:
    return _SLASHES.sub("/", path).rstrip("/").removesuffix(_FILE)
