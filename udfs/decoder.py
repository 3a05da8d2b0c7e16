"""From Kafka's bytes to an event of the newest version of its domain."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from udfs.contract import Contract, Domain, Schema, full_name
from udfs.physical import check_usable, parse_physical
from udfs.reasons import Reason, RejectedError, undecodable
from udfs.wire import HEADER_SIZE, MAGIC, schema_id

DEFAULT_MAX_BYTES = 2**20


@dataclass(frozen=True)
class Form:
    """How messages of one schema id are read."""

    # None: a dead letter on its way through again, see schemas/replay.
    domain: Domain | None
    # The version in git; 0 when the schema is only in the registry.
    version: int
    written: Schema
    writer: Any
    # None when the writer's version is the newest: then nothing has to be resolved.
    reader: Any


class Decoder:
    """Reads any registered version of any domain; whatever is wrong becomes a RejectedError."""

    def __init__(
        self, contract: Contract, schema: Callable[[int], Schema],
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self._contract = contract
        self._schema = schema
        self._max_bytes = max_bytes
        self._forms: dict[int, Form] = {}
        # A schema that cannot be used is looked at once, not for each message.
        self._refused: dict[int, RejectedError] = {}

    def decode(self, message: bytes) -> tuple[Form, dict[str, Any]]:
        """Return how the message was read, and its fields."""
        size = len(message)
        if size > self._max_bytes and not self._is_replay(message):
            detail = f"it has {size:,} bytes; {self._max_bytes:,} may be"
            raise RejectedError(Reason.TOO_LARGE, detail)
        if size < HEADER_SIZE or message[0] != MAGIC:
            raise _no_header(message)
        number = int.from_bytes(message[1:5], "big")
        form = self._forms.get(number) or self._form(number)
        stream = BytesIO(message)
        stream.seek(HEADER_SIZE)
        try:
            event = schemaless_reader(stream, form.writer, form.reader)
        # The bytes are anybody's: whatever they make the decoder raise, only they are refused.
        except Exception as error:
            raise undecodable(error) from error
        if (left := size - stream.tell()):
            detail = f"{left:,} bytes are left over after the record"
            raise RejectedError(Reason.UNDECODABLE, detail)
        return form, event

    def _is_replay(self, message: bytes) -> bool:
        """Tell whether a large message only carries one, which is held to the limit by itself."""
        number = schema_id(message)
        try:
            return number is not None and (
                self._forms.get(number) or self._form(number)
            ).domain is None
        except RejectedError:
            return False

    def _form(self, number: int) -> Form:
        if (known := self._refused.get(number)) is not None:
            raise known
        schema = self._schema(number)
        try:
            form = self._make(number, schema)
        except RejectedError as error:
            self._refused[number] = error
            raise
        self._forms[number] = form
        return form

    def _make(self, number: int, schema: Schema) -> Form:
        record = full_name(schema) if schema.get("type") == "record" else ""
        if record == full_name(self._contract.replay):
            newest = parse_physical(self._contract.replay)
            return Form(None, 1, schema, parse_physical(schema), newest)
        domain = self._contract.domains.get(record)
        if domain is None:
            detail = f"schema {number} is {record or 'no record'}, which is no event"
            raise RejectedError(Reason.WRONG_RECORD, detail)
        check_usable(schema)
        try:
            writer = parse_physical(schema)
            newest = parse_physical(domain.newest)
        # fastavro has no common base for what it says of a schema that it does not like.
        except Exception as error:
            detail = f"schema {number} cannot be read: {error}"[:300]
            raise RejectedError(Reason.UNUSABLE_SCHEMA, detail) from error
        version = next(
            (index for index, known in enumerate(domain.versions, 1) if known == schema), 0
        )
        same = version == len(domain.versions)
        return Form(domain, version, schema, writer, None if same else newest)


def _no_header(message: bytes) -> RejectedError:
    if not message:
        return RejectedError(Reason.EMPTY, "the message is empty")
    if len(message) < HEADER_SIZE:
        detail = f"it has {len(message)} bytes; the header alone takes {HEADER_SIZE}"
    else:
        detail = f"its first byte is {message[0]}, not {MAGIC}"
    return RejectedError(Reason.NOT_WIRE_FORMAT, detail)
