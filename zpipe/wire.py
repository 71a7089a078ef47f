"""What the processes of a pipeline say to each other, and nothing that is not exactly that.

What is sent is one ZeroMQ part with one or more messages, in order. Several, because a part costs system calls and
context switches on either side whatever is in it, more than all the rest of a message; who has several for the same
receiver at the same moment sends them together.

    octet 0      0x7A ("z")
    octet 1      version of the wire, VERSION
    octets 2..   MessagePack array of 1 to MOST_IN_FLIGHT messages; each an array [tag, fields...] of a type below

A receiver MUST check all of it before acting: magic, version, length, tag, number, type and range of fields. What
fails is a `WireError`, never anything else (the tests fuzz it); the receiver counts it, logs it once per peer and
drops it. Nothing from the wire is ever executed or unpickled, and no length in a message allocates memory:
a part is at most MAX_BYTES long, which its socket enforces before reading it.

Workers carry the number that the broker gave them. A number is never used twice, so what a dead worker still
had in its socket is recognised as such.
"""

from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from zpipe import messages as results
from zpipe.errors import UNDECODABLE, WireError

VERSION = 3
PREFIX = b"z" + bytes([VERSION])
MAX_BYTES = 64 << 20
"""10,000 objects (the most that `max_objects` allows) with labels of 1,000 bytes are 20 MB; three times that."""

MAX_BODY_BYTES = MAX_BYTES - 1024
"""The longest body: a message has less than so many other bytes."""

MOST_NAME, MOST_REASON = 1000, 100_000
"""Letters that are kept of a frame's name where all of it is too long, and of why a worker refuses its work."""

MOST_STREAM_NAME, MOST_UPLOAD = 200, 200
"""Letters of a stream's name, and of what tells an upload from others."""

MOST_IN_FLIGHT = 4096
"""Frames in flight, whatever the config says; and so the messages in one part. More go in several (`parts`)."""

UInt32 = Annotated[int, Meta(ge=0, lt=1 << 32)]
UInt63 = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Seq = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
StreamName = Annotated[str, Meta(min_length=1, max_length=MOST_STREAM_NAME)]


class Picture(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Where a frame's picture is: a slot of the store, which alone makes these and reads them.

    `encoded_bytes`: length of the encoded file in it, before its pixels; None: it holds pixels only (a video's frame).
    """

    slot: UInt32
    encoded_bytes: UInt63 | None = None


class Message(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """What all messages share: an array on the wire, one tag for each type. None can be part of a cycle."""


# ---- workers to broker ------------------------------------------------------------------------------------


class Bound(Message, tag=1, frozen=True):
    """The sink's sockets are bound; `publish` and `history` are their endpoints as a subscriber connects to them."""

    worker: UInt32
    publish: str
    history: str


class Ready(Message, tag=2, frozen=True):
    """The worker's model is loaded; the first frame may come. (Ingest opens its sources later: `Listed`.)"""

    worker: UInt32


class Refused(Message, tag=3, frozen=True):
    """The worker cannot do its work at all (bad model, full disk): the run stops with this exit code."""

    worker: UInt32
    reason: str
    exit_code: Annotated[int, Meta(ge=1, le=255)]


class Read(Message, tag=4, frozen=True):
    """Ingest has filled a granted slot with frame `seq` of a stream; `failed`: it is unreadable, `body` says why."""

    worker: UInt32
    stream: UInt32
    seq: Seq
    picture: Picture
    failed: bool
    body: bytes


class End(Message, tag=5, frozen=True):
    """Ingest has read the stream's last frame, number `count`; `skipped` things in the source were no frames."""

    worker: UInt32
    stream: UInt32
    count: UInt63
    skipped: UInt63
    drained: bool


class Output(Message, tag=6, frozen=True):
    """A worker has finished a frame; `failed`: no later stage is to see it."""

    worker: UInt32
    stream: UInt32
    seq: Seq
    failed: bool
    body: bytes


class PublishedUpTo(Message, tag=7, frozen=True):
    """The sink has logged and published all results of the stream up to `seq`."""

    worker: UInt32
    stream: UInt32
    seq: Seq


class Closed(Message, tag=8, frozen=True):
    """The sink has logged and published the stream's end of stream."""

    worker: UInt32
    stream: UInt32


class Listed(Message, tag=9, frozen=True):
    """Ingest has opened the source of a stream: `total` frames are in it, if that is known."""

    worker: UInt32
    stream: UInt32
    total: UInt63 | None


class Open(Message, tag=10, frozen=True):
    """Somebody opens stream `name` below ingest entry number `entry` of the config, which listens.

    `upload` tells one upload under that name from another; empty: not known, so it is that of the newest stream of the
    name that has not ended. Each is answered by one `Opened`, in the order in which they were said.
    """

    worker: UInt32
    entry: UInt32
    name: StreamName
    upload: Annotated[str, Meta(max_length=MOST_UPLOAD)]


class GaveBack(Message, tag=11, frozen=True):
    """Ingest gives back slots that it was granted and has not filled: the answer to `Recall`."""

    worker: UInt32
    slots: Annotated[list[UInt32], Meta(max_length=1 << 16)]


# ---- broker to workers ------------------------------------------------------------------------------------


class Work(Message, tag=20, frozen=True):
    """A frame to work on: where its picture is, and in `body` what is known of it."""

    stream: UInt32
    seq: Seq
    picture: Picture
    attempts: UInt32
    body: bytes


class Grant(Message, tag=21, frozen=True):
    """Ingest may fill these slots, with frames of any of its streams."""

    slots: Annotated[list[UInt32], Meta(max_length=1 << 16)]


class Close(Message, tag=22, frozen=True):
    """All `count` results of the stream are published: publish its end."""

    stream: UInt32
    count: UInt63
    drained: bool


class Stop(Message, tag=23, frozen=True):
    """Nothing comes after this: end. (Ingest: finish the frame being read, say `End` of each stream, then end.)"""


class Opened(Message, tag=24, frozen=True):
    """The answer to `Open`: the worker reads stream number `stream` from now on, from frame `next` on.

    `name` is what the stream is called in full; `ended`: its end was read already, nothing more of it is wanted.
    `refused`: why there is no such stream, else empty; then nothing else here counts.
    """

    stream: UInt32
    name: StreamName
    next: Seq
    ended: bool
    refused: str = ""


class Leave(Message, tag=25, frozen=True):
    """Ingest reads no more of this stream: it finishes the frame being read and says `End`."""

    stream: UInt32


class Begin(Message, tag=26, frozen=True):
    """To the sink, before its first frame: a stream begins that was not there when the sink was started."""

    stream: UInt32
    name: StreamName


class Recall(Message, tag=27, frozen=True):
    """Ingest gives back at once (`GaveBack`) all slots that it does not fill at this moment: another one has none."""


class Publishing(Message, tag=28, frozen=True):
    """To the gate: where the sink publishes, so that senders get their results."""

    publish: str
    history: str


FromWorker = Bound | Ready | Refused | Read | End | Output | PublishedUpTo | Closed | Listed | Open | GaveBack
ToWorker = Work | Grant | Close | Stop | Opened | Leave | Begin | Recall | Publishing

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_length = Meta(min_length=1, max_length=MOST_IN_FLIGHT)
_from_worker = msgspec.msgpack.Decoder(Annotated[list[FromWorker], _length])
_to_worker = msgspec.msgpack.Decoder(Annotated[list[ToWorker], _length])


def body_of(result: results.Result, stage: str) -> bytes:
    """The result as the `body` of a message. One that is too long becomes a `failed` one that says so: as it is, it
    would never arrive."""
    body = results.pack(result)
    if len(body) <= MAX_BODY_BYTES:
        return body
    result.name = result.name[:MOST_NAME]
    reason = f"its result of {len(body) / 1e6:.0f} MB is too long: lower max_objects or top_k, or shorten its name"
    return results.pack(results.fail(result, stage, reason))


def encode(messages: Sequence[Message]) -> bytes:
    """The messages as one part."""
    return PREFIX + _encoder.encode(messages)


def parts(messages: Sequence[Message]) -> list[bytes]:
    """The messages as one part, or as several if one would be more than a receiver takes.

    WireError if one message alone is: its receiver would end the connection, and it would be lost without a word.
    """
    part = encode(messages)
    if len(messages) <= MOST_IN_FLIGHT and len(part) <= MAX_BYTES:
        return [part]
    if len(messages) == 1:
        raise WireError(f"{type(messages[0]).__name__} of {len(part) / 1e6:.0f} MB is too long to be sent")
    middle = len(messages) // 2
    return parts(messages[:middle]) + parts(messages[middle:])


def decode_from_worker(data: bytes) -> list[FromWorker]:
    """Messages to the broker; `WireError` for anything else."""
    messages: list[FromWorker] = _decode(_from_worker, data)
    return messages


def decode_to_worker(data: bytes) -> list[ToWorker]:
    """Messages from the broker; `WireError` for anything else."""
    messages: list[ToWorker] = _decode(_to_worker, data)
    return messages


def _decode(decoder: "msgspec.msgpack.Decoder[T]", data: bytes) -> T:
    if data[:2] != PREFIX:
        if data[:1] == PREFIX[:1] and len(data) > 1:
            raise WireError(f"it speaks version {data[1]} of the wire, this is version {VERSION}")
        raise WireError("it does not begin like a message of zpipe")
    try:
        return decoder.decode(memoryview(data)[2:])
    except UNDECODABLE as error:
        raise WireError(str(error)) from None
