"""What a subscriber asks the sink for, the lines that it missed, and who the subscribers are. Pure: no socket, no file.

A request is one MessagePack array, `[subscriber, stream, first, done]`: the lines of `stream` from number `first` on
(no stream: none), and whether the subscriber has everything. The reply is `[run, states, lines, more]`.

A zpipe subscriber also subscribes to the topic `subscriber/<its id>`. Nothing is ever published there, but ZeroMQ
tells the publisher of the subscription and, when the connection goes, of its end: so the sink knows who is still there
to catch up, without a heartbeat.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from zpipe.errors import UNDECODABLE
from zpipe.rules import limits

MAX_REQUEST_BYTES = 4096
SUBSCRIBER = b"subscriber/"
RESULTS = b"results/"

MOST_AWAITED = 4 * limits.MAX_PEERS
"""Subscribers that are waited for at the end, those that have left unheard included."""

Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Id = Annotated[str, Meta(max_length=64)]


class LinesRequest(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`stream` and `first`: the lines wanted; no stream: none. `done`: this subscriber needs nothing more."""

    subscriber: Id
    stream: Annotated[str, Meta(max_length=255)] | None = None
    first: Number = 1
    done: bool = False


class StreamState(msgspec.Struct, array_like=True, frozen=True):
    """How far a stream is published; `closed`: its end too, which has number `published + 1`."""

    stream: str
    published: Number
    closed: bool


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """`lines` are consecutive, from the number asked for on, as many as fit; fewer than there are: ask again. `more`:
    further streams may come, whatever becomes of these."""

    run: str
    streams: list[StreamState]
    lines: list[bytes]
    more: bool = False


_requests = msgspec.msgpack.Decoder(LinesRequest)
_replies = msgspec.msgpack.Decoder(Reply)
_encoder = msgspec.msgpack.Encoder()


class Audience:
    """Who is subscribed.

    `behind`: the zpipe subscribers that have not said yet that they have everything. `gone`: those of them whose
    connection has ended; it may have been cut, so they may come back. `expected`: how many such subscribers a sink that
    has died leaves to this one; their names are not known.
    """

    def __init__(self, expected: int = 0) -> None:
        self.subscribers = 0
        self.behind: set[bytes] = set()
        self.gone = {b"expected %d" % number for number in range(expected)}
        self._expected = sorted(self.gone)
        self._ours = 0

    @property
    def plain(self) -> int:
        """Subscribers that are not zpipe's: what they miss, nobody fills in."""
        return max(0, self.subscribers - self._ours)

    def heard(self, event: bytes) -> None:
        """Take an event of an XPUB socket: octet 0 is 1 for a subscription, 0 for its end; the topic follows."""
        joined, topic = event[:1] == b"\x01", event[1:]
        if event[:1] not in (b"\x00", b"\x01"):  # what an XSUB peer sends upstream is no subscription
            return
        if topic.startswith(SUBSCRIBER):
            self._heard_of(topic.removeprefix(SUBSCRIBER), joined)
        elif topic.startswith(RESULTS) or RESULTS.startswith(topic):
            self.subscribers = max(0, self.subscribers + (1 if joined else -1))

    def has_everything(self, subscriber: bytes) -> None:
        """It says so: nobody waits for it."""
        self.behind.discard(subscriber)
        self.gone.discard(subscriber)

    def _heard_of(self, subscriber: bytes, joined: bool) -> None:
        self._ours = max(0, self._ours + (1 if joined else -1))
        if joined and len(self.behind) + len(self.gone) >= MOST_AWAITED:
            return  # whoever makes up so many is not waited for
        if joined:
            self.behind.add(subscriber)
            self.gone.discard(subscriber if subscriber in self.gone or not self._expected else self._expected.pop())
        elif subscriber in self.behind:
            self.behind.discard(subscriber)
            self.gone.add(subscriber)


def read_request(data: bytes) -> LinesRequest:
    """A request; `msgspec.DecodeError` if it is none."""
    try:
        return _requests.decode(data)
    except UNDECODABLE as error:
        raise msgspec.DecodeError(str(error)) from None


def write_reply(reply: Reply) -> bytes:
    """A reply as one part."""
    return _encoder.encode(reply)


def write_request(request: LinesRequest) -> bytes:
    """A request as one part."""
    return _encoder.encode(request)


def read_reply(data: bytes) -> Reply:
    """A reply; `msgspec.DecodeError` if it is none."""
    try:
        return _replies.decode(data)
    except UNDECODABLE as error:
        raise msgspec.DecodeError(str(error)) from None
