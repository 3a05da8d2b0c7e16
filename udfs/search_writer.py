"""Documents into Elasticsearch: `_bulk`, each item judged by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from elasticsearch import ApiError, Elasticsearch, OrjsonSerializer, TransportError

from udfs.documents import PREFIX, Document, index_name
from udfs.patience import AwayError
from udfs.reasons import Reason, RejectedError

_REQUEST_SECONDS = 60
# What the store answers for a moment: too busy, just restarting, behind a proxy without it.
_AWAY = frozenset({408, 429, 500, 502, 503, 504})
# About the caller, not about a document: a person mends it, and the job waits until then.
_NOT_ALLOWED = frozenset({401, 403})
# An operator has closed the index, which answers 400 and is not the document's fault.
_AWAY_TYPES = frozenset({"index_closed_exception"})
_BULK_ANSWER = "errors,items.*.status,items.*.error.type,items.*.error.reason"


@dataclass(frozen=True)
class SearchAddress:
    """Where Elasticsearch is; its password is not a part of what is shown."""

    url: str

    def __repr__(self) -> str:
        return "SearchAddress(...)"


@dataclass(frozen=True)
class Outcome:
    """What became of a bulk request."""

    refused: list[tuple[int, RejectedError]]
    # These may succeed later, and why they did not now.
    again: list[int]
    because: str = ""


class SearchWriter:
    """Writes documents into daily indices, which it makes where they are missing."""

    def __init__(
        self, address: SearchAddress, template: Mapping[str, Any], prefix: str = PREFIX
    ) -> None:
        # Retries are ours: the client would repeat whole requests, and say nothing.
        self._client = Elasticsearch(
            address.url, request_timeout=_REQUEST_SECONDS, max_retries=0, retry_on_timeout=False,
            http_compress=False, serializer=OrjsonSerializer(),
        )
        # An index is made with all that it needs, whether the template is in place or not.
        self._index = dict(template)
        self._prefix = prefix
        self._made: set[int] = set()

    def write(self, documents: Sequence[Document]) -> Outcome:
        """Write documents; AwayError when nothing can be said of any of them."""
        try:
            for day in {document.day for document in documents} - self._made:
                self._make(day)
            lines: list[bytes] = []
            for document in documents:
                lines += (document.action, document.source)
            lines.append(b"")
            answer = self._client.perform_request(
                "POST", f"/_bulk?filter_path={_BULK_ANSWER}", body=b"\n".join(lines), headers={
                    "content-type": "application/x-ndjson", "accept": "application/json",
                },
            )
        except ApiError as error:
            return self._failed(documents, error)
        except TransportError as error:
            raise AwayError(str(error)) from error
        if not answer["errors"]:
            return Outcome([], [])
        return self._sorted(answer["items"], documents)

    def close(self) -> None:
        """Leave Elasticsearch."""
        self._client.close()

    def _make(self, day: int) -> None:
        try:
            self._client.indices.create(index=index_name(day, self._prefix), **self._index)
        except ApiError as error:
            # Another subtask may have met the new day first. Anything else (too many shards, say)
            # is about the server, not about these documents.
            if error.message != "resource_already_exists_exception":
                said = f"{index_name(day, self._prefix)} cannot be made: {_said(error)}"
                raise AwayError(said, _retry_after(error)) from error
        self._made.add(day)

    def _failed(self, documents: Sequence[Document], error: ApiError) -> Outcome:
        status = error.meta.status
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(documents) > 1:
            middle = len(documents) // 2
            parts = self.write(documents[:middle]), self.write(documents[middle:])
            return Outcome(
                parts[0].refused + [(middle + number, why) for number, why in parts[1].refused],
                parts[0].again + [middle + number for number in parts[1].again],
                parts[0].because or parts[1].because,
            )
        if status in _AWAY | _NOT_ALLOWED:
            raise AwayError(_said(error), _retry_after(error)) from error
        if len(documents) > 1:
            # Not a word about which: each is asked about by itself.
            return _joined([self.write([document]) for document in documents])
        return Outcome([(0, RejectedError(Reason.REFUSED, _said(error)))], [])

    def _sorted(self, items: Sequence[Any], documents: Sequence[Document]) -> Outcome:
        refused: list[tuple[int, RejectedError]] = []
        again: list[int] = []
        because = ""
        for number, item in enumerate(items):
            (result,) = item.values()
            status, error = result["status"], result.get("error")
            # A conflict: what is there is as new as this, or newer.
            if error is None or status == HTTPStatus.CONFLICT:
                continue
            said = f"{status} {error.get('type')}: {error.get('reason')}"
            if status == HTTPStatus.NOT_FOUND:
                # Somebody has dropped the index; it is made again.
                self._made.discard(documents[number].day)
            if (
                status in _AWAY | _NOT_ALLOWED | {HTTPStatus.NOT_FOUND}
                or error.get("type") in _AWAY_TYPES
            ):
                again.append(number)
                because = said
            else:
                refused.append((number, RejectedError(Reason.REFUSED, said)))
        return Outcome(refused, again, because)


def _joined(parts: Sequence[Outcome]) -> Outcome:
    return Outcome(
        [(number, why) for number, part in enumerate(parts) for _, why in part.refused],
        [number for number, part in enumerate(parts) if part.again],
        next((part.because for part in parts if part.because), ""),
    )


def _said(error: ApiError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    detail = body.get("error")
    reason = detail.get("reason", "") if isinstance(detail, dict) else ""
    return f"{error.meta.status} {error.message} {reason}".strip()


def _retry_after(error: ApiError) -> float | None:
    """Return how many seconds the store asks to be left alone, in either form of HTTP."""
    text = error.meta.headers.get("retry-after")
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
