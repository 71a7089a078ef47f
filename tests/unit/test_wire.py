"""The wire: what is on it octet by octet, and that each rule of it is enforced."""

from types import SimpleNamespace
from typing import get_args

import msgspec
import pytest

from zpipe import messages, wire
from zpipe.errors import FrameError, WireError
from zpipe.messages import Result
from zpipe.stages.loop import Loop

TAGS = {
    "Bound": 1, "Ready": 2, "Refused": 3, "Read": 4, "End": 5, "Output": 6, "PublishedUpTo": 7, "Closed": 8,
    "Listed": 9, "Open": 10, "GaveBack": 11,
    "Work": 20, "Grant": 21, "Close": 22, "Stop": 23, "Opened": 24, "Leave": 25, "Begin": 26, "Recall": 27,
    "Publishing": 28,
}  # fmt: skip

EXAMPLES = {
    "7a03 91 92 15 93 01 02 03": wire.Grant([1, 2, 3]),
    "7a03 91 91 17": wire.Stop(),
    "7a03 91 94 07 09 00 11": wire.PublishedUpTo(9, 0, 17),
    "7a03 91 96 06 09 00 11 c2 c4 01 ff": wire.Output(9, 0, 17, False, b"\xff"),
    "7a03 91 92 02 07": wire.Ready(7),
    "7a03 91 94 09 07 01 c0": wire.Listed(7, 1, None),
    "7a03 91 97 04 02 01 03 92 05 c0 c2 c4 00": wire.Read(2, 1, 3, wire.Picture(5), False, b""),
    "7a03 91 96 05 02 01 03 00 c2": wire.End(2, 1, 3, 0, False),
    "7a03 91 95 0a 02 01 a1 61 a1 62": wire.Open(2, 1, "a", "b"),
    "7a03 91 96 18 04 a3 672e61 01 c2 a0": wire.Opened(4, "g.a", 1, False),
    "7a03 91 92 19 04": wire.Leave(4),
    "7a03 91 93 0b 02 92 05 06": wire.GaveBack(2, [5, 6]),
    "7a03 91 91 1b": wire.Recall(),
    "7a03 91 93 1a 04 a3 672e61": wire.Begin(4, "g.a"),
    "7a03 91 96 14 00 11 92 05 cd 012c 02 c4 00": wire.Work(0, 17, wire.Picture(5, 300), 2, b""),
}


def decode(data: bytes, to_worker: bool) -> list[wire.Message]:
    return wire.decode_to_worker(data) if to_worker else wire.decode_from_worker(data)


@pytest.mark.parametrize("octets", EXAMPLES)
def test_the_octets_are_as_they_are_written_down(octets: str) -> None:
    message = EXAMPLES[octets]
    assert wire.encode([message]) == bytes.fromhex(octets)
    assert decode(bytes.fromhex(octets), isinstance(message, get_args(wire.ToWorker))) == [message]


def test_a_tag_never_changes_its_meaning() -> None:
    kinds = get_args(wire.FromWorker) + get_args(wire.ToWorker)
    assert {kind.__name__: kind.__struct_config__.tag for kind in kinds} == TAGS


def test_several_messages_keep_their_order() -> None:
    several = [wire.PublishedUpTo(1, 0, 4), wire.Closed(1, 0), wire.PublishedUpTo(1, 1, 2)]
    assert wire.decode_from_worker(wire.encode(several)) == several


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin like a message of zpipe"),
        (b"z", "does not begin like a message of zpipe"),
        (b"{}", "does not begin like a message of zpipe"),
        (b"z\x01\x91\x91\x17", "it speaks version 1 of the wire, this is version 3"),
        (b"z\x00", "it speaks version 0 of the wire"),
        (b"z\x03", "truncated"),
        (b"z\x03\x90", "length"),
        (b"z\x03\x91\x91\x17\xc0", "trailing"),
        (b"z\x03\x91\x17", "Expected `array`"),
        (b"z\x03\x91\x91\x1d", "Invalid value 29"),
        (b"z\x03\x91\x92\x17\x00", "at most length"),
        (b"z\x03\xdd\xff\xff\xff\xff", "length"),
        (wire.encode([wire.Closed(1, 0)]), "Invalid value 8"),
        (b"z\x03" + b"\x91" * 100_000, "array"),
        (wire.PREFIX + msgspec.msgpack.encode([[21, [0] * ((1 << 16) + 1)]]), "length"),
        (wire.PREFIX + msgspec.msgpack.encode([[21, [1 << 32]]]), "4294967295|< 4294967296"),
        (wire.PREFIX + msgspec.msgpack.encode([[21, [-1]]]), ">= 0"),
        (wire.PREFIX + msgspec.msgpack.encode([[23]] * (wire.MOST_IN_FLIGHT + 1)), "length"),
        (wire.PREFIX + msgspec.msgpack.encode([[20, 0, 0, [0, None], 0, b""]]), ">= 1"),
        (wire.PREFIX + msgspec.msgpack.encode([[22, 0, 1, 1]]), "Expected `bool`"),
    ],
)
def test_what_is_no_message_to_a_worker(data: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        wire.decode_to_worker(data)


@pytest.mark.parametrize(
    "fields",
    [
        [1, 5, b"\xff", "x"],
        [2, 1 << 32],
        [2, 1, None],
        [9, 1, 0, -1],
        [9, 1, 0, 1 << 63],
        [9, 1, 0, 1.0],
        [10, 1, 0, "", ""],
        [10, 1, 0, "a" * (wire.MOST_STREAM_NAME + 1), ""],
        [10, 1, 0, "a", "u" * (wire.MOST_UPLOAD + 1)],
        [3, 1, "reason", 0],
        [3, 1, "reason", 256],
        [4, 1, 0, 0, [1, 0], False, b""],
        [4, 1, 0, 1, [1, 0], 0, b""],
        [4, 1, 0, 1, [1], False, b"", 0],
        [4, 1, 0, 1, [1, -1], False, b""],
        [4, 1, 0, 1, [1, 0], False, "text"],
        [4, 1, -1, 1, [1, 0], False, b""],
        [5, 1, 0, -1, 0, False],
        [6, 1, 0, 1, False],
        [6, 1, 0, 1, False, b"", None],
        [7, 1, 0, 0],
        [23],
    ],
)
def test_what_is_no_message_from_a_worker(fields: list[object]) -> None:
    with pytest.raises(WireError, match=r"\$\[0\]"):
        wire.decode_from_worker(wire.PREFIX + msgspec.msgpack.encode([fields]))


def test_a_text_that_is_no_text_is_no_message() -> None:
    part = wire.encode([wire.Bound(1, "ab", "cd")]).replace(b"ab", b"\xff\xfe")
    with pytest.raises(WireError, match="utf-8"):
        wire.decode_from_worker(part)


def test_more_than_one_part_takes_goes_in_several() -> None:
    many = [wire.Close(0, count, False) for count in range(2 * wire.MOST_IN_FLIGHT + 1)]
    parts = wire.parts(many)
    assert len(parts) > 2
    assert [message for part in parts for message in wire.decode_to_worker(part)] == many
    heavy = [wire.Work(0, seq, wire.Picture(0), 1, bytes(wire.MAX_BYTES // 3)) for seq in range(1, 6)]
    parts = wire.parts(heavy)
    assert max(map(len, parts)) <= wire.MAX_BYTES
    assert [message.seq for part in parts for message in wire.decode_to_worker(part)] == [1, 2, 3, 4, 5]
    assert wire.parts(many[:3]) == [wire.encode(many[:3])]


class Endless:
    """A stage whose result is longer than what the wire takes, or that fails."""

    name, model = "endless", None

    def __init__(self, reason: str = "") -> None:
        self.reason = reason

    def work(self, result: Result, picture: object) -> None:
        if self.reason:
            raise FrameError(self.reason)
        result.name = "x" * wire.MAX_BYTES


def test_a_result_that_would_not_fit_the_wire_is_a_failed_one() -> None:
    body = messages.pack(Result(stream="a", seq=3, name="img3.png", timestamp=1))
    frame, link = wire.Work(1, 3, wire.Picture(0), 1, body), SimpleNamespace(worker=7)
    output = Loop(Endless("no such pixels"), link, None, None, 1).output_of(frame)
    assert (output.worker, output.stream, output.seq, output.failed) == (7, 1, 3, True)
    assert messages.unpack(output.body).error == messages.Failure("endless", "no such pixels")
    output = Loop(Endless(), link, None, None, 1).output_of(frame)
    assert output.failed
    assert "too long: lower max_objects or top_k" in messages.unpack(output.body).error.reason
    assert len(output.body) < 10_000, "with its name it would still be too long"


def test_a_message_that_is_too_long_is_never_lost_without_a_word() -> None:
    """Edge 24: it was sent, and its receiver ended the connection, with whatever came after it."""
    long = wire.Output(1, 0, 1, False, bytes(wire.MAX_BYTES))
    for several in ([long], [wire.Closed(1, 0), long, wire.Closed(1, 0)]):
        with pytest.raises(WireError, match="Output of 67 MB is too long to be sent"):
            wire.parts(several)
    longest = wire.Output((1 << 32) - 1, (1 << 32) - 1, (1 << 63) - 1, False, bytes(wire.MAX_BODY_BYTES))
    assert len(wire.parts([longest])) == 1
    assert wire.decode_from_worker(wire.parts([longest])[0]) == [longest]


def test_a_name_that_is_too_long_makes_a_failed_result() -> None:
    """Edge 24: a list file with a line of 70 MB lost that entry and the next."""
    body = wire.body_of(Result(stream="a", seq=3, name="x" * 70_000_000, timestamp=1), "ingest")
    result = messages.unpack(body)
    assert (result.status, result.name, result.error.stage) == ("failed", "x" * wire.MOST_NAME, "ingest")
    assert "70 MB is too long" in result.error.reason
    short = Result(stream="a", seq=3, name="x", timestamp=1)
    assert wire.body_of(short, "ingest") == messages.pack(short)
