"""Files broken in one way or another."""

import random

KINDS = ("truncated", "flipped", "flipped head", "zeroed", "inserted")


def damaged(whole: bytes, kind: str, rng: random.Random) -> bytes:
    """The file, broken in one way."""
    data = bytearray(whole)
    if kind == "truncated":
        return bytes(data[: rng.randrange(len(data))])
    if kind == "flipped":
        for _ in range(rng.randrange(1, 400)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "flipped head":
        for _ in range(rng.randrange(1, 60)):
            data[rng.randrange(min(6000, len(data)))] ^= 1 << rng.randrange(8)
    elif kind == "zeroed":
        at = rng.randrange(len(data))
        data[at : at + 500] = bytes(len(data[at : at + 500]))
    elif kind == "inserted":
        data[rng.randrange(len(data)) :] = rng.randbytes(200) + data[rng.randrange(len(data)) :]
    return bytes(data)
