"""What two runs wrote into a topic, reduced to digests that can be compared."""

import json
import struct
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from control.events.reader import Record

# So short that a million of them fit in memory, so long that no two are the same by chance.
_DIGEST_BYTES = 16
# In front of a content: when it came, so that of two the newer is the greater.
_STAMP = struct.Struct(">QQ")


def digest_of(value: bytes | None) -> bytes:
    """Return the digest of a whole message; one without a value is not an empty one."""
    return _digest(b"" if value is None else b"\0" + value)


def digest_of_fields(fields: Mapping[str, Any]) -> bytes:
    """Return the digest of decoded fields, whatever order a schema has them in."""
    return _digest(json.dumps(fields, sort_keys=True, default=_tagged).encode())


class Side:
    """What one of two runs wrote."""

    def __init__(self) -> None:
        # By the digest of an identity, its newest content.
        self.newest: dict[bytes, bytes] = {}
        # What has no identity: how often each value is there.
        self.wholes: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """Return how many there are; copies of one identity count once."""
        return len(self.newest) + self.wholes.total()

    def add(self, record: Record, identity: bytes, content: bytes) -> None:
        """Take a record that has an identity."""
        found = _STAMP.pack(max(0, record.timestamp), record.offset) + content
        if found > self.newest.get(identity, b""):
            self.newest[identity] = found

    def add_whole(self, value: bytes) -> None:
        """Take a record that is nothing but its value."""
        self.wholes[value] += 1

    def lacks(self, other: "Side") -> Counter[bytes]:
        """Return what only the other has, and how often."""
        missing = other.wholes - self.wholes
        missing.update(one for one in other.newest if one not in self.newest)
        return missing

    def changed(self, other: "Side") -> Counter[bytes]:
        """Return the identities that both have, with another content."""
        return Counter(
            one for one, content in self.newest.items()
            if one in other.newest
            and content[_STAMP.size:] != other.newest[one][_STAMP.size:]
        )


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=_DIGEST_BYTES).digest()


def _tagged(value: Any) -> list[str]:
    # JSON has no such type: its name keeps it apart from a text that looks alike.
    return [type(value).__name__, value.hex() if isinstance(value, bytes) else str(value)]
