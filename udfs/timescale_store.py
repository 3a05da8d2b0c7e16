"""Canonical records as rows of TimescaleDB, however often it is away."""

from collections.abc import Sequence

from udfs.batch_sink import CleanSchemas
from udfs.copy_rows import RowWriter, compile_row
from udfs.halving import write_by_halves
from udfs.patience import Patience
from udfs.reasons import RejectedError
from udfs.timescale_writer import TimescaleWriter


class TimescaleStore:
    """Makes rows of messages and writes them in batches."""

    def __init__(
        self, writer: TimescaleWriter, schemas: CleanSchemas, columns: Sequence[str],
        patience: Patience,
    ) -> None:
        self._writer = writer
        self._schemas = schemas
        self._columns = columns
        self._patience = patience
        # By schema id.
        self._rows: dict[bytes, RowWriter] = {}

    def item(self, message: bytes) -> bytes:
        """Return a message's row."""
        row = self._rows.get(message[:5]) or self._row(message)
        return row(message)

    def _row(self, message: bytes) -> RowWriter:
        _, schema = self._schemas.of(message)
        row = self._rows[message[:5]] = compile_row(schema, self._columns)
        return row

    def write(self, items: Sequence[bytes]) -> list[tuple[int, RejectedError]]:
        """Write rows; return the numbers of those that the server refuses, and why."""
        refused = write_by_halves(
            range(len(items)),
            lambda numbers: self._patience.call(
                lambda: self._writer.write(items[number] for number in numbers)
            ),
        )
        return list(refused)
