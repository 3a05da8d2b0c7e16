"""Canonical records as documents of Elasticsearch, however often it is away."""

import time
from collections.abc import Callable, Sequence

from udfs.batch_sink import CleanSchemas
from udfs.documents import PREFIX, Document, DocumentMaker
from udfs.patience import AwayError, Patience
from udfs.reasons import RejectedError
from udfs.search_writer import SearchWriter
from udfs.wire import HEADER_SIZE

_DAY_SECONDS = 86_400


class SearchStore:
    """Makes documents of messages and writes them in batches."""

    def __init__(
        self, writer: SearchWriter, schemas: CleanSchemas, keep_days: int, patience: Patience,
        *, prefix: str = PREFIX, versioned: bool = True, clock: Callable[[], float] = time.time,
    ) -> None:
        self._writer = writer
        self._schemas = schemas
        self._keep_days = keep_days
        self._patience = patience
        self._prefix = prefix
        self._versioned = versioned
        self._clock = clock
        # By the header, which names the schema.
        self._makers: dict[bytes, DocumentMaker] = {}

    def item(self, message: bytes) -> Document:
        """Return a message's document."""
        maker = self._makers.get(message[:HEADER_SIZE]) or self._maker(message)
        return maker.document(message, oldest_day(self._clock(), self._keep_days))

    def _maker(self, message: bytes) -> DocumentMaker:
        _, schema = self._schemas.of(message)
        maker = self._makers[message[:HEADER_SIZE]] = DocumentMaker(
            schema, prefix=self._prefix, versioned=self._versioned
        )
        return maker

    def write(self, items: Sequence[Document]) -> list[tuple[int, RejectedError]]:
        """Write documents; return the numbers of those that are refused, and why."""
        left = list(range(len(items)))
        refused: list[tuple[int, RejectedError]] = []

        def attempt() -> None:
            done = self._writer.write([items[number] for number in left])
            refused.extend((left[number], error) for number, error in done.refused)
            left[:] = [left[number] for number in done.again]
            if left:
                message = f"{len(left)} of {len(items)} documents: {done.because}"
                raise AwayError(message)

        self._patience.call(attempt)
        return refused


def oldest_day(now: float, keep_days: int) -> int:
    """Return the oldest day that is kept, counted from 1970: today and those before it."""
    return int(now // _DAY_SECONDS) - keep_days + 1
