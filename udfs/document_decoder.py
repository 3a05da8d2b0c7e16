"""Any canonical record as a document: the long way, which knows what to refuse, and why."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import orjson
from fastavro import schemaless_reader

from udfs.cleaner import scale_of
from udfs.contract import Schema
from udfs.document_text import Parts, digest, time_text
from udfs.field_code import base_type
from udfs.physical import parse_physical
from udfs.reasons import Reason, RejectedError, undecodable
from udfs.wire import HEADER_SIZE


class DocumentDecoder:
    """Decodes the messages that one schema wrote, and writes them as JSON."""

    def __init__(self, schema: Schema) -> None:
        self._schema = parse_physical(schema)
        kinds = {str(field["name"]): base_type(field) for field in schema["fields"]}
        self._times = _of_logical_type(kinds, "timestamp-micros")
        self._powers = {name: 10 ** scale_of(kinds[name])
                        for name in _of_logical_type(kinds, "decimal")}

    def parts(self, message: bytes) -> Parts:
        """Return a message's document; RejectedError when it cannot be one."""
        event = self._read(message)
        try:
            known = event["event_id"], event["occurred_at"], event["cleaned_at"]
            for name in self._times:
                if event[name] is not None:
                    event[name] = time_text(event[name])
            for name, power in self._powers.items():
                if event[name] is not None:
                    event[name] = int.from_bytes(event[name], "big", signed=True) / power
            event["digest_high"], event["digest_low"] = digest(message)
            present = {name: value for name, value in event.items() if value is not None}
            return Parts(*known, orjson.dumps(present))
        except (ValueError, OverflowError, KeyError, TypeError) as error:
            detail = f"no document can be made of it: {error}"[:300]
            raise RejectedError(Reason.UNDECODABLE, detail) from error

    def _read(self, message: bytes) -> dict[str, Any]:
        stream = BytesIO(message)
        stream.seek(HEADER_SIZE)
        try:
            event: dict[str, Any] = schemaless_reader(stream, self._schema, None)
        # Whatever the bytes make of it, only they are refused.
        except Exception as error:
            raise undecodable(error) from error
        if stream.tell() != len(message):
            raise RejectedError(Reason.UNDECODABLE, "bytes are left over after the record")
        return event


def _of_logical_type(kinds: Mapping[str, Any], name: str) -> list[str]:
    return [field for field, kind in kinds.items()
            if isinstance(kind, dict) and kind.get("logicalType") == name]
