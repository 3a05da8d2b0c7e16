"""What S3 answers: pages of a list, and errors in words."""

import re

# The store is the operator's own choice, and expat has had its limits against bombs since 2.4.1.
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import unquote

import httpx

from control.archive.stored import StoreAccessError, StoredArchive, hash_of
from control.errors import SluiceError
from control.events.render import printable

_LONGEST = 300

# By the code in the answer, or by the status where there is none.
_HINTS = {
    "SignatureDoesNotMatch": "Check SLUICE_S3_SECRET, and SLUICE_S3_REGION.",
    "InvalidAccessKeyId": "Check SLUICE_S3_KEY, and that SLUICE_S3_ENDPOINT is the right store.",
    "AuthorizationHeaderMalformed": "Check SLUICE_S3_REGION.",
    "RequestTimeTooSkewed": "Set this machine's clock: it is too far from the store's.",
    "NoSuchBucket": "Make the bucket, or mend SLUICE_ARCHIVE_STORE.",
    "PermanentRedirect": "Check SLUICE_S3_REGION and SLUICE_S3_ENDPOINT.",
}
_ACCESS_HINT = (
    "Check SLUICE_S3_KEY and SLUICE_S3_SECRET. The key must be allowed to get, put and delete"
    " objects of this bucket, and to list it."
)
_REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_REDIRECTS = range(300, 400)


@dataclass(frozen=True)
class Problem:
    """What S3 says went wrong."""

    status: int
    code: str
    message: str

    @property
    def words(self) -> str:
        """All of it on one line."""
        said = " ".join(part for part in (self.code, self.message) if part)
        return f"{self.status} {said}".strip()


@dataclass(frozen=True)
class Page:
    """A part of a list."""

    archives: list[StoredArchive]
    # Asks for the next part; None at the end.
    token: str | None


def read_problem(response: httpx.Response, *secrets: str) -> Problem:
    """Return an error's code and message; whatever is secret is taken out of them."""
    try:
        root = ET.fromstring(response.read())  # noqa: S314
    except ET.ParseError:
        # A proxy's page, or nothing at all: the answer to HEAD has no body.
        return Problem(response.status_code, "", response.reason_phrase)
    code, message = (
        root.findtext(f"{{*}}{name}") or "" for name in ("Code", "Message")
    )
    for secret in filter(None, secrets):
        code, message = (text.replace(secret, "***") for text in (code, message))
    return Problem(response.status_code, printable(code)[:_LONGEST], printable(message)[:_LONGEST])


def refusal(problem: Problem, store: str, response: httpx.Response) -> SluiceError:
    """Return the error for an answer that will not get better by itself."""
    region = response.headers.get("x-amz-bucket-region", "")
    hint = _HINTS.get(problem.code, "")
    if re.fullmatch(r"[a-z0-9-]+", region) and problem.status in (*_REDIRECTS, 400):
        hint = f"The bucket is in the region {region}: set SLUICE_S3_REGION to it."
    if problem.status in _REFUSALS:
        message = f"{store} does not let us: {problem.words}."
        return StoreAccessError(message, hint or _ACCESS_HINT)
    message = f"{store} refuses: {problem.words}."
    return SluiceError(message, hint or "Check SLUICE_ARCHIVE_STORE and SLUICE_S3_ENDPOINT.")


def read_page(content: bytes, store: str) -> Page:
    """Return a part of a list."""
    try:
        root = ET.fromstring(content)  # noqa: S314
        archives = [
            StoredArchive(archive_hash, int(_text(entry, "Size")), _time(entry))
            for entry in root.iterfind("{*}Contents")
            # Names come encoded. Those of archives have nothing to decode but, with some, slashes.
            if (archive_hash := hash_of(unquote(_text(entry, "Key")).rpartition("/")[2]))
        ]
        more = _text(root, "IsTruncated", "false") == "true"
        token = _text(root, "NextContinuationToken") if more else None
    except (ET.ParseError, ValueError) as error:
        message = f"{store} answered with something that is no list of objects: {error}."
        raise SluiceError(message, "Check SLUICE_S3_ENDPOINT: is it a store?") from error
    return Page(archives, token)


def _text(entry: ET.Element, name: str, default: str | None = None) -> str:
    found = entry.findtext(f"{{*}}{name}", default)
    if not found:
        message = f"it has no {name}"
        raise ValueError(message)
    return found


def _time(entry: ET.Element) -> datetime:
    return datetime.fromisoformat(_text(entry, "LastModified"))
