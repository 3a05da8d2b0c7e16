"""Signature Version 4, by which S3 knows who asks for what."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from control.archive.s3_access import S3Access

# Of a request without a body.
EMPTY_HASH = hashlib.sha256(b"").hexdigest()

_ALGORITHM = "AWS4-HMAC-SHA256"


def encoded(text: str, keep: str = "") -> str:
    """Return text as it stands in an address: all but the plain letters is written out."""
    return quote(text, safe=f"-_.~{keep}", errors="surrogateescape")


def encoded_query(query: Mapping[str, str]) -> str:
    """Return a query in the order in which it is signed."""
    pairs = sorted((encoded(name), encoded(value)) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def signed(
    access: S3Access, method: str, path: str, query: str, headers: Mapping[str, str],
    payload_hash: str, at: datetime,
) -> dict[str, str]:
    """Return the headers with those that sign the request; path and query are encoded already."""
    time = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    every = {
        **{name.lower(): value for name, value in headers.items()},
        "x-amz-content-sha256": payload_hash, "x-amz-date": time,
    }
    names = ";".join(sorted(every))
    lines = "".join(f"{name}:{' '.join(every[name].split())}\n" for name in sorted(every))
    request = "\n".join([method, path, query, lines, names, payload_hash])
    scope = f"{time[:8]}/{access.region}/s3/aws4_request"
    text = "\n".join([_ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = b"AWS4" + access.secret.get_secret_value().encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    signature = _mac(key, text).hex()
    every["authorization"] = (
        f"{_ALGORITHM} Credential={access.key}/{scope}, SignedHeaders={names},"
        f" Signature={signature}"
    )
    return every


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
