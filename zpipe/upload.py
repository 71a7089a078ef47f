"""What a sender and the gate say to each other: how frames come from anywhere, and their results go back.

A sender has a DEALER socket, the gate a ROUTER. A message is one part, a MessagePack array `[kind, fields...]`; a
`frame` has a second part, the picture. ShortText is UTF-8. What a sender says:

    ["hello", version, name, upload, session, first]   first of all, and again when it is asked to
    ["frame", seq, name] + picture as in a file        JPEG, PNG, ...: what zpipe reads
    ["frame", seq, name, height, width] + pixels       height · width · 3 bytes, BGR
    ["failed", seq, name, reason]                      there is no picture to be had: the result shall say why
    ["end", count]                                     frame number `count` was the last

What the gate says:

    ["welcome", version, session, stream, next, frames, bytes]
    ["credit", frames, bytes]          from now on
    ["wanted", next]                   send frame `next`, then those behind it
    ["results", [line, ...]]           each the bytes of a published JSON object
    ["hello"]                          it does not know you (it was restarted): say hello again
    ["draining"]                       the pipeline is being stopped: no further frame is taken
    ["refused", reason]                for good
    ["fenced", reason]                 a newer sender of your name is there: leave

Rules. `name` has letters, digits, `_` and `-` only. An *upload* is a name and an id of the sender's choice: each is a
stream of its own, and who comes back with the same id goes on with it, whoever died meanwhile. A new sender says
`session` 0 and keeps the number that it is given; of two senders of one name the one with the higher number stays.

Frames have numbers from 1, without gaps. The *result is the acknowledgement*: a sender MUST keep a frame until its
result has come, since it may be asked for it again (`welcome` and `wanted` say which number is next). What was accepted
already is not taken twice. A frame behind a gap is not taken: the answer is the number that is expected.

`frames` and `bytes` are the credit: so many may be sent and have no result yet. One frame may always be, whatever its
size. What comes beyond the credit may be dropped, and asked for again.

Results come in order, from number `first` on (1: from the start), each once a connection; the last is the end of the
stream, an object of type `eos`. Whose `seq` it is, is in the line. Who does not read is cut off, and may come back.
"""

from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from zpipe.errors import UNDECODABLE, WireError

VERSION = 1

MOST_HEAD_BYTES = 8192
"""Longest first part from a sender: a frame's name, or why there is no frame, is the most of it."""

MOST_PARTS = 3
"""Parts of a message: what ROUTER puts before it, the message, the picture."""

MOST_LINE_BYTES = 1 << 18
"""Lines that are sent together have about so many bytes; a longer one goes alone."""

SenderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}\Z")]
UploadId = Annotated[str, Meta(min_length=1, max_length=64)]
FrameNumber = Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
Unsigned = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Side = Annotated[int, Meta(ge=0, le=1 << 20)]
ShortText = Annotated[str, Meta(max_length=MOST_HEAD_BYTES)]


class Word(msgspec.Struct, array_like=True, frozen=True):
    """What all messages share: an array whose first element says which it is. Later versions may add fields behind."""


class Hello(Word, tag="hello", frozen=True):
    """A sender, new or come back; `first`: the number of the first result that it wants."""

    version: Unsigned
    name: SenderName
    upload: UploadId
    session: Unsigned = 0
    first: FrameNumber = 1


class NewFrame(Word, tag="frame", frozen=True):
    """A frame, its picture in the part behind it; with a size these are pixels."""

    seq: FrameNumber
    name: ShortText
    height: Side = 0
    width: Side = 0


class Failed(Word, tag="failed", frozen=True):
    """A frame of which the sender has no picture."""

    seq: FrameNumber
    name: ShortText
    reason: ShortText


class LastFrame(Word, tag="end", frozen=True):
    """So many frames, and no more."""

    count: Unsigned


class Welcome(Word, tag="welcome", frozen=True):
    """The answer to `Hello`: what the stream is called, which frame is wanted next, and the credit."""

    version: Unsigned
    session: Unsigned
    stream: str
    next: FrameNumber
    frames: Unsigned
    bytes: Unsigned


class Credit(Word, tag="credit", frozen=True):
    """As many frames and bytes may be without a result from now on."""

    frames: Unsigned
    bytes: Unsigned


class SendFrom(Word, tag="wanted", frozen=True):
    """This frame next, then those behind it."""

    next: FrameNumber


class Results(Word, tag="results", frozen=True):
    """Published lines, in order."""

    lines: list[bytes]


class WhoAreYou(Word, tag="hello", frozen=True):
    """Say hello (again)."""


class Draining(Word, tag="draining", frozen=True):
    """No further frame is taken; the results of those that were come yet."""


class TurnedAway(Word, tag="refused", frozen=True):
    """It is no use to go on, or to come back as you are."""

    reason: str


class FencedOff(Word, tag="fenced", frozen=True):
    """Somebody newer has your name."""

    reason: str


FromSender = Hello | NewFrame | Failed | LastFrame
ToSender = Welcome | Credit | SendFrom | Results | WhoAreYou | Draining | TurnedAway | FencedOff

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_from_sender = msgspec.msgpack.Decoder(FromSender)
_to_sender = msgspec.msgpack.Decoder(ToSender)


def encode(message: FromSender | ToSender) -> bytes:
    """The message as one part."""
    return _encoder.encode(message)


def decode_from_sender(data: bytes) -> FromSender:
    """What a sender says; `WireError` for anything else."""
    if len(data) > MOST_HEAD_BYTES:
        raise WireError(f"its first part has {len(data)} bytes, more than {MOST_HEAD_BYTES}")
    message: FromSender = _decode(_from_sender, data)
    return message


def decode_to_sender(data: bytes) -> ToSender:
    """What the gate says; `WireError` for anything else."""
    message: ToSender = _decode(_to_sender, data)
    return message


def pack_lines(lines: Sequence[bytes]) -> list[Results]:
    """The lines as messages of bearable size."""
    packed: list[Results] = []
    begin = size = 0
    for at, line in enumerate(lines):
        if at > begin and size + len(line) > MOST_LINE_BYTES:
            packed.append(Results(list(lines[begin:at])))
            begin, size = at, 0
        size += len(line)
    return [*packed, Results(list(lines[begin:]))] if begin < len(lines) else packed


def _decode(decoder: "msgspec.msgpack.Decoder[T]", data: bytes) -> T:
    try:
        return decoder.decode(data)
    except UNDECODABLE as error:
        raise WireError(str(error)) from None
