"""Read one field of a canonical record without decoding all of it."""


def received_at(message: bytes) -> int:
    """Return received_at in microseconds: the sixth field, after three texts and two numbers."""
    place = 5
    for _ in range(3):
        length, place = _number(message, place)
        place += length
    for _ in range(2):
        _, place = _number(message, place)
    return _number(message, place)[0]


def _number(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004
            return (value >> 1) ^ -(value & 1), place
        shift += 7
