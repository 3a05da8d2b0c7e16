"""Avro's smallest parts: whole numbers, and texts with their length in front."""

# Most texts are shorter than this: their length is looked up, not computed.
TABLE_SIZE = 8192


def number(value: int) -> bytes:
    """Return a whole number as Avro has it: zigzag, seven bits a byte."""
    left = (value << 1) ^ (value >> 63)
    # A time of this century in microseconds takes eight bytes: no loop for those.
    if 0x2000000000000 <= left < 0x100000000000000:  # noqa: PLR2004
        return bytes((
            left & 127 | 128, left >> 7 & 127 | 128, left >> 14 & 127 | 128,
            left >> 21 & 127 | 128, left >> 28 & 127 | 128, left >> 35 & 127 | 128,
            left >> 42 & 127 | 128, left >> 49,
        ))
    out = bytearray()
    while left > 127:  # noqa: PLR2004
        out.append(left & 127 | 128)
        left >>= 7
    out.append(left)
    return bytes(out)


def read_number(message: bytes, place: int) -> tuple[int, int]:
    """Return the whole number that begins at a place, and the place after it."""
    byte = message[place]
    place += 1
    value, shift = byte & 127, 7
    while byte > 127:  # noqa: PLR2004
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
    return (value >> 1) ^ -(value & 1), place


def read_size(message: bytes, place: int) -> tuple[int, int]:
    """Return the length of a text, and the place where the text begins."""
    size, place = read_number(message, place)
    if size < 0:
        text = f"a length of {size}"
        raise ValueError(text)
    return size, place


def sized(text: bytes) -> bytes:
    """Return a text or bytes as Avro has them: the length first."""
    size = len(text)
    return (LENGTHS[size] if size < TABLE_SIZE else number(size)) + text


LENGTHS = tuple(number(size) for size in range(TABLE_SIZE))
