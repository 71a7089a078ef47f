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

TOPIC_BYTES = 16
"""What a topic counts besides its octets: we keep it too."""

MAX_EVENTS_A_TURN = 256
"""Subscriptions, parts of questions, and connections that come and go: so many before results have their turn again."""

MAX_QUESTIONS_A_TURN = 16
"""One is answered; so many others are looked at until there is one to answer."""

MAX_REQUEST_BYTES = 4096
"""Longest question, to the history or to the control socket."""

MAX_REQUEST_PARTS = 8
"""A question is one part; what a proxy or a REQ socket puts before it is some more."""

MAX_REPLY_WAITING_BYTES = 1 << 16
"""Who has more of its replies to read yet is not answered: it asks again."""

MAX_IGNORED = 32
"""Who asks so often while it has a reply to read yet is cut off; zpipe's subscribers ask ever more seldom then."""

MIN_REPLY_BYTES, MAX_REPLY_BYTES, SHARES = 1 << 16, 1 << 20, 16
"""A reply is no longer than what its asker has taken before, and than a share of what may wait yet for all together: so
who does not read costs little, and takes the room of nobody else."""

SHARE_OF_TIME, TURN_S = 0.05, 100e-6
"""So much of its time the sink gives to subscriptions, and as much to questions that it does not answer; what it takes
to come to them at all."""

NEW_S = 1.0
"""So long a connection is a new one."""

SAYS_TOO_MUCH, DOES_NOT_READ = "it says too much", "it does not read"

NEWCOMERS = 2
"""So many new connections in such a time, while others were cut off of late; the rest try again."""

COOL_S, MIN_BURST_BYTES = 10.0, 8 << 10
"""Whoever connects within such a time after others were cut off for what they said may say less at once: those come
again every 100 ms. It is enough for 100 subscriptions, or the longest question."""


def reply_bytes(room: int, taken: int) -> int:
    """About how long a reply may be, while so many bytes may wait yet for all together, to who has taken so many."""
    return max(MIN_REPLY_BYTES, min(MAX_REPLY_BYTES, room // SHARES, taken))


class Limits(NamedTuple):
    """Of one socket: what a connection may say at once (`burst_bytes`) and for long (`bytes_per_s`), what all may
    together, and what may wait for all together because they do not read."""

    burst_bytes: int
    bytes_per_s: int
    all_bytes: int
    waiting_bytes: int


PUBLISHER = Limits(burst_bytes=64 << 10, bytes_per_s=16 << 10, all_bytes=512 << 10, waiting_bytes=24 << 20)
"""1,000 subscriptions at once. Saying nothing new (heartbeats) takes 20 bytes a second."""

HISTORY = Limits(burst_bytes=256 << 10, bytes_per_s=256 << 10, all_bytes=1 << 20, waiting_bytes=64 << 20)
"""5,000 questions a second; a subscriber that catches up asks 200. A part without content is 2 octets on the way and 64
in memory."""


def for_newcomers(limits: Limits, cuts: int) -> Limits:
    """What a connection may say that comes shortly after so many were cut off."""
    return limits._replace(burst_bytes=max(MIN_BURST_BYTES, limits.burst_bytes >> cuts))


def for_gate(message_bytes: int, unread: int) -> Limits:
    """The limits of a door for senders, of which a part has at most `message_bytes` and a connection so many messages
    that are here and `unread`. What was read counts no more (`PeerAccount.took`): the rest is a message that never
    ends."""
    return Limits((unread + 2) * message_bytes, 64 << 10, max(1 << 30, (unread + 2) * message_bytes), 48 << 20)


class Sent(NamedTuple):
    """What a socket has sent to all alike: bytes and messages, from its start on."""

    bytes: int = 0
    messages: int = 0


class Traffic(NamedTuple):
    """What the kernel has counted of a connection: bytes heard from it, bytes that it took, bytes under way to it."""

    heard: int
    taken: int
    under_way: int


class PeerAccount:
    """Of one connection: `debt`, the bytes that it has said and time has not forgiven; `taken`, the bytes that it took;
    `waiting`, about how many wait for it. `most_waiting`: messages that its queue holds; more are not kept for it.

    What waits in libzmq nobody tells. Of what is sent to it alone we are told (`owe`): that, less what was taken. Of
    what is sent to all (`sent`) it gets a part: while the kernel has nothing under way to it, nothing waits; and from
    then on it is what was sent less what was taken.
    """

    def __init__(self, limits: Limits, most_waiting: int, now: float, sent: Sent | None) -> None:
        self._limits, self._most_waiting = limits, most_waiting
        self._seen, self._heard = now, 0
        self._empty, self._empty_taken = sent or Sent(), 0
        self._owed = self.taken = self.ignored = 0
        self._since = now
        self.debt = 0.0
        self.waiting = 0

    def owe(self, size: int) -> None:
        """So many bytes are sent to it alone. What it took before uncounted, headers, does not count for these."""
        self._owed = max(self._owed, self.taken) + size
        self.waiting = self._owed - self.taken

    def look(self, now: float, traffic: Traffic, sent: Sent | None) -> None:
        """Bring it up to date."""
        self.debt = max(0.0, self.debt - (now - self._seen) * self._limits.bytes_per_s) + traffic.heard - self._heard
        self.waiting = max(0, self._owed - traffic.taken) if sent is None else self._waiting_of(sent, traffic)
        self._seen, self._heard, self.taken = now, traffic.heard, traffic.taken

    def _waiting_of(self, sent: Sent, traffic: Traffic) -> int:
        if not traffic.under_way:
            self._empty, self._empty_taken = sent, traffic.taken
        size, count = sent.bytes - self._empty.bytes, sent.messages - self._empty.messages
        waiting = min(size - (traffic.taken - self._empty_taken), size * self._most_waiting // max(1, count))
        return max(traffic.under_way, waiting)

    def is_loud(self, now: float) -> bool:
        """Whether it may be over its limit soon: it has just come, or says much."""
        return now - self._since < NEW_S or self.debt > MIN_BURST_BYTES / 4

    def took(self, size: int) -> None:
        """So many bytes of what it says were taken, and are no debt."""
        self._heard += size

    @property
    def is_over(self) -> bool:
        """Whether it has said more than one connection may."""
        return self.debt > self._limits.burst_bytes


class Share:
    """When what strangers cause has its turn again: it gets a share of the time, however much of it there is."""

    def __init__(self, share: float = SHARE_OF_TIME) -> None:
        self._rest = 1 / share - 1
        self.due = 0.0

    def spend(self, began: float, ended: float) -> None:
        """It took so long: it rests in proportion."""
        self.due = ended + (ended - began + TURN_S) * self._rest


def choose_over(accounts: Iterable[tuple[int, PeerAccount]], limits: Limits) -> dict[int, str]:
    """Which of the connections are to be cut off, and why: those over their limit, and while all together are over
    theirs, those that cost the most."""
    over = {}
    rest = []
    for key, account in accounts:
        if account.is_over:
            over[key] = SAYS_TOO_MUCH
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
        over[key], waits = DOES_NOT_READ, waits - account.waiting
    return over


class Topics:
    """Which topics each connection is subscribed to. Who says one twice has it once, as libzmq sees it too.

    A connection's number is used again for later ones; `address`, who is at its other end, tells them apart. What one
    has said may come after its end.
    """

    def __init__(self) -> None:
        self._addresses: dict[int, str] = {}
        self._topics: dict[int, set[bytes]] = {}
        self._bytes: dict[int, int] = {}

    def change(self, connection: int, address: str, event: bytes) -> bool:
        """Take an event of a connection; whether it changes what it is subscribed to."""
        if self._addresses.get(connection) != address:
            self._addresses[connection], self._topics[connection], self._bytes[connection] = address, set(), 0
        joins, topic = event[:1] == b"\x01", event[1:]
        topics = self._topics[connection]
        if joins == (topic in topics):
            return False
        (topics.add if joins else topics.remove)(topic)
        if connection in self._bytes:
            self._bytes[connection] += (len(topic) + TOPIC_BYTES) * (1 if joins else -1)
        return True

    def choose_over(self, connection: int) -> tuple[int, str] | None:
        """Which connection is to be cut off and why, if one is, after a change of this one."""
        if len(self._topics[connection]) > MAX_TOPICS:
            return connection, "it has too many topics"
        if sum(self._bytes.values()) > MAX_TOPICS_BYTES:
            return max(self._bytes, key=self._bytes.__getitem__), "all together have too many topics"
        return None

    def end(self, connection: int) -> None:
        """It has ended: its topics cost nothing any more."""
        self._bytes.pop(connection, None)
