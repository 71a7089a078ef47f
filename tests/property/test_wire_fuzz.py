"""Any bytes on a link are messages or a `WireError`, never anything else; and every message survives the wire.

The same holds for what else comes from outside: requests to the history and to a running pipeline, published lines.
"""

import contextlib
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zpipe import messages, wire
from zpipe.errors import WireError
from zpipe.rules import history

FROM_WORKERS, TO_WORKERS = get_args(wire.FromWorker), get_args(wire.ToWorker)
UINT32, UINT63 = st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1)
BY_TYPE = {
    wire.UInt32: UINT32,
    wire.UInt63: UINT63,
    wire.Seq: st.integers(1, 2**63 - 1),
    wire.UInt63 | None: st.none() | UINT63,
    wire.Picture: st.builds(wire.Picture, UINT32, st.none() | UINT63),
    wire.StreamName: st.text(min_size=1, max_size=40),
    str: st.text(max_size=40),
    bool: st.booleans(),
    bytes: st.binary(max_size=200),
}
BY_FIELD = {
    (wire.Refused, "exit_code"): st.integers(1, 255),
    (wire.Open, "upload"): st.text(max_size=40),
    (wire.GaveBack, "slots"): st.lists(UINT32, max_size=40),
    (wire.Grant, "slots"): st.lists(UINT32, max_size=40),
}


def any_of(kind: type[wire.Message]) -> st.SearchStrategy[wire.Message]:
    """Any message of this type, by the types of its fields."""
    fields = {}
    for field, annotation in kind.__annotations__.items():
        fields[field] = BY_FIELD[kind, field] if (kind, field) in BY_FIELD else BY_TYPE[annotation]
    return st.builds(kind, **fields)


def parts_of(kinds: tuple[type[wire.Message], ...]) -> st.SearchStrategy[list[wire.Message]]:
    return st.lists(st.one_of(*map(any_of, kinds)), min_size=1, max_size=5)


PARTS = parts_of(FROM_WORKERS) | parts_of(TO_WORKERS)


def decoders_of(messages: list[wire.Message]) -> tuple[Callable[[bytes], object], Callable[[bytes], object]]:
    """The decoder that takes the messages, and the one that does not."""
    ours, theirs = wire.decode_from_worker, wire.decode_to_worker
    return (ours, theirs) if isinstance(messages[0], FROM_WORKERS) else (theirs, ours)


def outcome(data: bytes) -> str:
    """What the decoders make of the bytes: `messages` or `WireError`; anything else is raised."""
    found = set()
    for decode in (wire.decode_from_worker, wire.decode_to_worker):
        try:
            decoded = decode(data)
        except WireError:
            found.add("WireError")
        else:
            assert decode(wire.encode(decoded)) == decoded
            found.add("messages")
    return "messages" if "messages" in found else "WireError"


@given(PARTS)
def test_every_message_survives_the_wire(part: list[wire.Message]) -> None:
    decode, other = decoders_of(part)
    assert decode(wire.encode(part)) == part
    with pytest.raises(WireError):
        other(wire.encode(part))


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_a_wire_error(data: bytes) -> None:
    outcome(data)
    outcome(wire.PREFIX + data)
    outcome(wire.PREFIX + b"\x91" + data)


@settings(max_examples=300)
@given(PARTS, st.data())
def test_a_damaged_part_is_messages_or_a_wire_error(part: list[wire.Message], data: st.DataObject) -> None:
    whole = wire.encode(part)
    at = data.draw(st.integers(0, len(whole)))
    bits = data.draw(st.binary(max_size=8))
    outcome(whole[:at] + bits + whole[at:])
    outcome(whole[:at] + bits + whole[at + len(bits) :])
    outcome(whole[:at])


@given(PARTS, st.integers(0, 255).filter(lambda version: version != wire.VERSION))
def test_another_version_says_so(part: list[wire.Message], version: int) -> None:
    data = b"z" + bytes([version]) + wire.encode(part)[2:]
    for decode in decoders_of(part):
        with pytest.raises(WireError, match=rf"it speaks version {version} of the wire, this is version 3\b"):
            decode(data)


@given(st.binary(max_size=300))
def test_whatever_else_comes_from_outside_has_one_error_too(data: bytes) -> None:
    for decode in (messages.parse, messages.unpack, history.read_reply):
        with contextlib.suppress(msgspec.DecodeError):
            decode(data)


# ---- a million inputs ----------------------------------------------------------------------------------------

SPICES = [
    *(wire.encode([message]) for message in (
        wire.Bound(1, "tcp://127.0.0.1:5560", "tcp://127.0.0.1:5561"),
        wire.Ready(7),
        wire.Listed(7, 1, 2000),
        wire.Open(7, 1, "alice", "0123456789abcdef"),
        wire.Refused(3, "no such model", 4),
        wire.Read(2, 0, 1, wire.Picture(3, 150_000), False, b"\x85\xa4type\xa5frame"),
        wire.End(2, 0, 9, 3, True),
        wire.Output(9, 0, 17, False, bytes(range(256))),
        wire.PublishedUpTo(4, 1, 2**62),
        wire.Closed(4, 1),
        wire.Work(0, 17, wire.Picture(5, 150_000), 2, b"body"),
        wire.Grant(list(range(40))),
        wire.Close(0, 500, False),
        wire.Stop(),
        wire.Opened(4, "gate.alice", 17, False),
        wire.Leave(4),
        wire.Begin(4, "gate.alice"),
    )),
    wire.encode([wire.Work(0, seq, wire.Picture(seq, 7), 1, b"body") for seq in range(1, 6)] + [wire.Stop()]),
    wire.PREFIX,
    b"\xc1",  # never used in MessagePack
    b"\xdd\xff\xff\xff\xff",  # an array of 4,294,967,295
    b"\xdf\xff\xff\xff\xff",  # a map of as many
    b"\xc6\xff\xff\xff\xff",  # as many bytes
    b"\xdb\xff\xff\xff\xff",  # a text as long
    b"\xcf" + b"\xff" * 8,  # 2^64 - 1
    b"\xd3\x80" + b"\0" * 7,  # -2^63
    b"\xcb\x7f\xf8" + b"\0" * 6,  # not a number
    b"\xa4\xff\xfe\xed\xc0",  # a text that is no UTF-8
    b"\xa3\xed\xa0\x80",  # half a surrogate pair
    b"\x91" * 5000,  # arrays in arrays
    b"\xd6\xff\0\0\0\0",  # a time stamp
    b"\xc7\x03\x05abc",  # an extension
]  # fmt: skip


def spiced(rng: random.Random) -> bytes:
    """Bytes that have something of a message."""
    if rng.random() < 0.2:
        return (wire.PREFIX if rng.random() < 0.8 else b"") + rng.randbytes(rng.randrange(60))
    data = bytearray(rng.choice(SPICES))
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                data[at:at] = rng.choice(SPICES)
            case 2:
                del data[at : at + rng.randrange(1, 9)]
            case 3 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 4 if len(data) > 3:
                data[rng.choice((2, 3))] = rng.randrange(0x90, 0x9C)  # another number of messages or fields
            case 5 if len(data) > 4:
                data[4] = rng.randrange(30)  # another tag
    return bytes(data)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_million_inputs() -> None:
    seed = int(os.environ.get("FUZZ_SEED", random.randrange(1 << 30)))
    rng = random.Random(seed)
    found = Counter(outcome(spiced(rng)) for _ in range(1_200_000))
    print(f"FUZZ_SEED={seed} inputs={found.total()} messages={found['messages']} rejected={found['WireError']}")
    assert found.total() >= 1_000_000
    assert min(found.values()) > 10_000, "one of the two outcomes is hardly tried"
