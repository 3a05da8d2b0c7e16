"""Messages changed at random, as a broken client or a hostile one would send them."""

import random


def mutate(message: bytes, chance: random.Random) -> bytes:
    """Return a message with something about it changed at random."""
    kind = chance.randrange(6)
    place = chance.randrange(len(message))
    if kind == 0:
        return message[:place]
    if kind == 1:
        return message[:place] + bytes([chance.randrange(256)]) + message[place + 1:]
    if kind == 2:
        return message[:place] + chance.randbytes(chance.randrange(1, 9)) + message[place:]
    if kind == 3:
        end = min(len(message), place + chance.randrange(1, 16))
        return message[:place] + message[end:]
    if kind == 4:
        return message + chance.randbytes(chance.randrange(1, 40))
    # A number made huge: where a length stands, it claims more bytes than there are.
    return message[:place] + b"\xff\xff\xff\xff\x0f" + message[place:]
