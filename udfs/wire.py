"""The registry's wire format: a zero, the schema's id in four bytes, then Avro."""

import struct

MAGIC = 0
HEADER_SIZE = 5
# Not a struct.Struct: this module travels inside the jobs, and such a one cannot be pickled.
_HEADER = ">bI"


def frame(schema_id: int, body: bytes) -> bytes:
    """Return Avro bytes as a Kafka message."""
    return struct.pack(_HEADER, MAGIC, schema_id) + body


def schema_id(message: bytes) -> int | None:
    """Return the id that a message names, or None when it is not in the wire format."""
    if len(message) < HEADER_SIZE or message[0] != MAGIC:
        return None
    return int(struct.unpack_from(_HEADER, message)[1])
