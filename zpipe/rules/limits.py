"""What anybody who reaches a socket may cost: every limit for strangers, and the account of a connection. Pure.

A socket of ZeroMQ bounds a message and a queue, and no more: subscriptions, topics, the parts of a message that never
ends and connections are taken as fast as they come. So each connection has an account of what it says and of what it
leaves unread, kept from what the kernel counts; who is over a limit is cut off (results/guard.py).
"""

from collections.abc import Iterable
from typing import NamedTuple

MAX_PEERS = 256
"""Connections to one socket; further ones are refused."""

MAX_TOPIC_BYTES = 512
"""Longest message to the publisher: a topic has less than 100 octets, the identity in a handshake 255."""

MAX_TOPICS = 1024
"""Topics that one connection may be subscribed to."""

MAX_TOPICS_BYTES = 1 << 19
"""All topics of all connections: libzmq keeps them in a tree of some 50 bytes an octet."""

MAX_EVENTS_A_TURN = 256
"""Subscriptions, and parts of questions, that are taken before results have their turn again."""

MAX_REQUEST_PARTS = 8
"""A question is one part; what a proxy or a REQ socket puts before it is some more."""

MAX_REPLY_WAITING_BYTES = 1 << 20
"""Who has so much of its replies to read yet is not answered: it asks again. A reply is about as much."""


class Limits(NamedTuple):
    """Of one socket: what a connection may say at once (`burst_bytes`) and for long (`bytes_per_s`), what all may
    together, and what may wait for all together because they do not read."""

    burst_bytes: int
    bytes_per_s: int
    all_bytes: int
    waiting_bytes: int


PUBLISHER = Limits(burst_bytes=64 << 10, bytes_per_s=16 << 10, all_bytes=512 << 10, waiting_bytes=48 << 20)
"""1,000 subscriptions at once. Saying nothing new (heartbeats) takes 20 bytes a second."""

HISTORY = Limits(burst_bytes=256 << 10, bytes_per_s=256 << 10, all_bytes=1 << 20, waiting_bytes=12 << 20)
"""5,000 questions a second; a subscriber that catches up asks 200. A part without content is 2 octets on the way and 64
in memory."""


def for_gate(message_bytes: int, unread: int) -> Limits:
    """The limits of a door for senders, of which a part has at most `message_bytes` and a connection so many messages
    that are here and `unread`. What was read counts no more (`PeerAccount.took`): the rest is a message that never
    ends."""
    return Limits((unread + 2) * message_bytes, 64 << 10, max(1 << 30, (unread + 2) * message_bytes), 48 << 20)


class Sent(NamedTuple):
    """What a socket has sent to a connection, or could have: bytes and messages, from its start on."""

    bytes: int = 0
    messages: int = 0


class Traffic(NamedTuple):
    """What the kernel has counted of a connection: bytes heard from it, bytes that it took, bytes under way to it."""

    heard: int
    taken: int
    under_way: int


class PeerAccount:
    """Of one connection: `debt`, the bytes that it has said and time has not forgiven; `waiting`, about how many bytes
    wait for it. `most_waiting`: messages that its queue holds, more are not kept for it.

    What waits in libzmq nobody tells. But while the kernel has nothing under way to it, nothing waits; and from then
    on it is what was sent less what was taken.
    """

    def __init__(self, limits: Limits, most_waiting: int, now: float, sent: Sent) -> None:
        self._limits, self._most_waiting = limits, most_waiting
        self._seen, self._heard = now, 0
        self._empty, self._empty_taken = sent, 0
        self.debt = 0.0
        self.waiting = 0

    def look(self, now: float, traffic: Traffic, sent: Sent) -> None:
        """Bring it up to date."""
        self.debt = max(0.0, self.debt - (now - self._seen) * self._limits.bytes_per_s) + traffic.heard - self._heard
        self._seen, self._heard = now, traffic.heard
        if not traffic.under_way:
            self._empty, self._empty_taken = sent, traffic.taken
        size, count = sent.bytes - self._empty.bytes, sent.messages - self._empty.messages
        waiting = min(size - (traffic.taken - self._empty_taken), size * self._most_waiting // max(1, count))
        self.waiting = max(traffic.under_way, waiting)

    def took(self, size: int) -> None:
        """So many bytes of what it says were taken, and are no debt."""
        self._heard += size

    @property
    def is_over(self) -> bool:
        """Whether it has said more than one connection may."""
        return self.debt > self._limits.burst_bytes


def choose_over(accounts: Iterable[tuple[int, PeerAccount]], limits: Limits) -> dict[int, str]:
    """Which of the connections are to be cut off, and why: those over their limit, and while all together are over
    theirs, those that cost the most."""
    over = {}
    rest = []
    for key, account in accounts:
        if account.is_over:
            over[key] = "it says too much"
        else:
            rest.append((key, account))
    said = sum(account.debt for _, account in rest)
    waits = sum(account.waiting for _, account in rest)
    for key, account in sorted(rest, key=lambda item: -item[1].debt):
        if said <= limits.all_bytes:
            break
        over[key], said = "all together say too much", said - account.debt
    for key, account in sorted(rest, key=lambda item: -item[1].waiting):
        if waits <= limits.waiting_bytes:
            break
        over[key], waits = "it does not read", waits - account.waiting
    return over


class Topics:
    """How many topics each connection is subscribed to, and how long they are."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._bytes: dict[int, int] = {}
        self._all_bytes = 0

    def heard(self, connection: int, event: bytes) -> tuple[int, str] | None:
        """Take an event of a connection; which one is to be cut off and why, if one is."""
        if event[:1] not in (b"\x00", b"\x01"):
            return connection, "it says what is no subscription"
        sign = 1 if event[:1] == b"\x01" else -1
        before = self._bytes.get(connection, 0)
        self._counts[connection] = max(0, self._counts.get(connection, 0) + sign)
        self._bytes[connection] = max(0, before + sign * (len(event) - 1))
        self._all_bytes += self._bytes[connection] - before
        if self._counts[connection] > MAX_TOPICS:
            return connection, "it has too many topics"
        if self._all_bytes > MAX_TOPICS_BYTES:
            return max(self._bytes, key=self._bytes.__getitem__), "all together have too many topics"
        return None

    def forget(self, connection: int) -> None:
        """Its connection is gone."""
        self._counts.pop(connection, None)
        self._all_bytes -= self._bytes.pop(connection, 0)
