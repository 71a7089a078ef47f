"""An entrance: the public socket of an ingest entry that listens. Knows the form of what comes, not what follows.

Whoever reaches it may connect and say anything. What is no message of `upload.py`, has too many parts or is too large
is counted, and its connection is cut off.
"""

import logging
from collections.abc import Iterator
from typing import NamedTuple

import zmq

from zpipe import upload
from zpipe.errors import WireError, ZpipeError
from zpipe.results.guard import Guard
from zpipe.results.publisher import KEY_GONE, MOST_TO_SEND_BYTES, connection_of
from zpipe.rules import limits
from zpipe.rules.sessions import Caller
from zpipe.transport.curve import bind_for
from zpipe.transport.endpoints import Wait, bind_one
from zpipe.transport.keys import Keys
from zpipe.transport.visitors import receive_at, user_of

ROLE = "send"
"""What a key must be for, where there are keys."""

BURST, BURST_BYTES = 64, 32 << 20
"""Messages, and bytes of pictures, that are taken from an entrance before others have their turn."""

MOST_WAITING = 8
"""High-water mark of what waits for one sender: 8 messages of results, up to 256 KB each."""

MOST_UNREAD = 4
"""High-water mark of what one sender has said and we have not taken: what more it says stays with it."""

HANDSHAKE_MS, HEARTBEAT_MS, SILENT_MS = 5_000, 5_000, 15_000
"""How long a handshake may take; how often a connection is asked whether it lives, and how long it may not answer."""

HELLO_S = 10.0
"""Who has not said hello so long after it was let in, or does not know how to, makes room for others."""

log = logging.getLogger(__name__)


class Heard(NamedTuple):
    """A message from a peer, with its picture if it has one. `may_use_name`: a hello whose name is its own."""

    peer: Caller
    message: upload.FromSender
    picture: memoryview | None
    may_use_name: bool = True


class Entrance:
    """The socket of ingest entry number `entry`, bound to `endpoint`.

    `max_bytes`: longest part that is taken; `keys`: who may send (None: everybody); `wait`: for an endpoint that is
    taken.
    """

    def __init__(self, entry: int, endpoint: str, max_bytes: int, keys: Keys | None, wait: Wait) -> None:
        self.entry = entry
        self._keys = keys
        self.rejected = 0
        self._connections: dict[int, Caller] = {}
        self._peers: dict[Caller, int] = {}
        self._gone: list[Caller] = []
        self._silent_since: dict[int, float] = {}
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.socket = context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.ROUTER_MANDATORY, 1), (zmq.MAXMSGSIZE, max_bytes), (zmq.SNDHWM, MOST_WAITING),
            (zmq.RCVHWM, MOST_UNREAD), (zmq.SNDBUF, MOST_TO_SEND_BYTES), (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS), (zmq.HEARTBEAT_TIMEOUT, SILENT_MS), (zmq.IPV6, "[" in endpoint),
        ):  # fmt: skip
            self.socket.setsockopt(option, value)
        self._guard = Guard("gate", self.socket, limits.for_gate(max_bytes, MOST_UNREAD), MOST_WAITING, shared=False)
        self.monitor = self._guard.monitor
        try:
            if keys is not None:
                self._guard.admission = receive_at(keys, ROLE, self.socket, endpoint, "gate")
            bind_one(self.socket, endpoint, wait, zmq.Socket.bind if keys is None else bind_for(keys))
        except ZpipeError:
            self.close(0)
            raise

    def listen(self) -> Iterator[Heard]:
        """The messages that are there, at most a burst of them."""
        size = 0
        for _ in range(BURST):
            parts = self._receive()
            if parts is None or size > BURST_BYTES:
                return
            heard = self._read(parts)
            if heard is not None:
                size += len(heard.picture) if heard.picture is not None else 0
                yield heard

    def say(self, peer: Caller, message: upload.ToSender) -> bool:
        """Tell a peer; whether it was taken. One that is gone takes everything; one that does not read, nothing."""
        data = upload.encode(message)
        try:
            self.socket.send(peer.id, zmq.SNDMORE | zmq.NOBLOCK)
            self.socket.send(data, zmq.NOBLOCK)
            self._guard.count(len(data), self._peers.get(peer))
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
        return True

    def meet(self) -> list[Caller]:
        """Take what the socket tells of who comes and goes; who has gone."""
        self._look()
        gone, self._gone = self._gone, []
        return gone

    def tick(self, now: float) -> None:
        """Some time has passed: who has said nothing yet has had the time to."""
        for connection in self._guard.connections():
            if connection in self._connections:
                self._silent_since.pop(connection, None)
            elif now - self._silent_since.setdefault(connection, now) > HELLO_S:
                self._guard.cut(connection, "it says nothing")

    def cut(self, peer: Caller, why: str) -> None:
        """End its connection."""
        self._guard.cut(self._peers.get(peer, -1), why)

    def drop_unwelcome(self) -> None:
        """End the connections of those whose key was removed. May be called from another thread."""
        for connection in self._guard.admission.unwelcome() if self._guard.admission is not None else []:
            self._guard.cut(connection, KEY_GONE)

    def close(self, linger_ms: int) -> None:
        """Close the socket; what was said leaves first, for so long."""
        self._guard.close()
        self.socket.close(linger=linger_ms)

    # ---- inside -------------------------------------------------------------------------------------------

    def _receive(self) -> "list[zmq.Frame] | None":
        """The parts of the next message, of too many the first; None if there is no message."""
        parts: list[zmq.Frame] = []
        while True:
            try:
                part = self.socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return None
            if len(parts) <= upload.MOST_PARTS:
                parts.append(part)
            if not part.more:
                return parts

    def _read(self, parts: "list[zmq.Frame]") -> Heard | None:
        peer, connection = Caller(self.entry, parts[0].bytes), connection_of(parts[-1])
        self._guard.took(sum(map(len, parts)), connection)
        if self._connections.get(connection) != peer:
            self._look()  # of who had this descriptor before, the end is told before anything of the next is heard
        if not self._is_admitted(connection, parts[-1]):
            self._guard.cut(connection, KEY_GONE)
            return None
        try:
            if not 2 <= len(parts) <= upload.MOST_PARTS:
                raise WireError(f"a message of {len(parts) - 1} parts")
            message = upload.decode_from_sender(parts[1].bytes)
            picture = parts[2].buffer if len(parts) > 2 else None
            if (picture is not None) != isinstance(message, upload.NewFrame):
                raise WireError(f"{type(message).__name__} {'with' if picture is not None else 'without'} a picture")
        except WireError as error:
            self._reject(connection, str(error))
            return None
        self._connections[connection], self._peers[peer] = peer, connection
        may_use_name = not isinstance(message, upload.Hello) or self._may_send_as(message.name, parts[-1])
        return Heard(peer, message, picture, may_use_name)

    def _is_admitted(self, connection: int, part: zmq.Frame) -> bool:
        return self._guard.admission is None or self._guard.admission.admit(connection, part)

    def _may_send_as(self, name: str, part: zmq.Frame) -> bool:
        """Whether the key of who says this is for this name."""
        return self._keys is None or self._guard.admission is None or self._keys.may_send(user_of(part), name)

    def _look(self) -> None:
        for connection in self._guard.meet():
            self._silent_since.pop(connection, None)
            peer = self._connections.pop(connection, None)
            if peer is not None:
                self._peers.pop(peer, None)
                self._gone.append(peer)

    def _reject(self, connection: int, why: str) -> None:
        self.rejected += 1
        self._guard.cut(connection, f"what it says is no message of a sender: {why}")
