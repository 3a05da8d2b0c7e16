"""The registry's wire format: a zero, the schema's id in four bytes, then Avro."""

import struct

MAGIC = 0
HEADER = struct.Struct(">bI")


def frame(schema_id: int, body: bytes) -> bytes:
    """Return Avro bytes as a Kafka message."""
    return HEADER.pack(MAGIC, schema_id) + body


def schema_id(message: bytes) -> int | None:
    """Return the id that a message names, or None when it is not in the wire format."""
    if len(message) < HEADER.size or message[0] != MAGIC:
        return None
    return int(HEADER.unpack_from(message)[1])
