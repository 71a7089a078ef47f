"""The guard of a public socket: owns the account of each of its connections, and cuts off who is over a limit.

libzmq tells of connections by a monitor; the kernel counts what passes on each; the limits are `rules/limits.py`.
It looks on a thread: a flood of subscriptions keeps whoever calls libzmq inside of it. The thread uses no socket of
ZeroMQ, only the descriptors of connections. Connections that are not TCP are those of our own user, and left alone.
"""

import contextlib
import logging
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import zmq

from zpipe.rules import limits
from zpipe.rules.limits import Limits, PeerAccount, Sent, Traffic
from zpipe.rules.monitor import parse_event

LOOK_S, LOUD_LOOK_S = 0.05, 0.002
"""How often it looks while somebody is connected; and at those who say much or have just come: through a receive buffer
as small as the publisher's come 8 MB a second."""

MOST_THROWN_AWAY = 1 << 16
"""Bytes that a connection has said and that nobody shall hear any more, at once."""

QUIET_S = 10.0
"""So often it is logged that connections were cut off, at most."""

MOST_CUTS = 8
"""So many cuts are remembered."""

NETWORK = socket.AF_INET, socket.AF_INET6
FAILED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
GONE = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
EVENTS = zmq.EVENT_ACCEPTED | GONE | FAILED

log = logging.getLogger(__name__)


@dataclass
class Peer:
    """A connection: its account, and the inode by which its descriptor is known again."""

    inode: int
    account: PeerAccount


class Admission(Protocol):
    """Of a socket with keys: who may be here (`transport/visitors.py`)."""

    def heard(self, event: int, value: int) -> None:
        """Take what the socket's monitor tells."""

    def admit(self, connection: int, part: zmq.Frame) -> bool:
        """Whether this part, which has come by this connection, is to be heard."""

    def unwelcome(self) -> list[int]:
        """The connections of those who may not be here any more."""


class Guard:
    """Of one socket. `most_waiting`: its high-water mark; `shared`: what it sends goes to all connections alike."""

    def __init__(self, name: str, public: "zmq.Socket[bytes]", bounds: Limits, most_waiting: int, shared: bool) -> None:
        self._name, self._bounds, self._most_waiting = name, bounds, most_waiting
        self._sent = Sent() if shared else None
        self._peers: dict[int, Peer] = {}
        self._lock = threading.Lock()
        self._logged = -QUIET_S
        self._ended = threading.Event()
        self._next_look, self._pace = 0.0, limits.Share()
        self._connected = threading.Event()
        self.cuts = 0
        self.admission: Admission | None = None
        self._cut_at: deque[float] = deque(maxlen=MOST_CUTS)
        self._came: deque[float] = deque(maxlen=limits.NEWCOMERS)
        self.monitor = public.get_monitor_socket(EVENTS)
        self._public = public
        self._thread = threading.Thread(target=self._watch, name=f"guard-{name}", daemon=True)
        self._thread.start()

    def meet(self) -> list[int]:
        """Take what the monitor tells; the descriptors whose connections are gone since the last call."""
        gone = []
        for _ in range(limits.MAX_EVENTS_A_TURN):
            if not self.monitor.poll(0):
                break
            event, value = parse_event(self.monitor.recv_multipart())
            if self.admission is not None:
                self.admission.heard(event, value)
            if event == zmq.EVENT_ACCEPTED:
                self._admit(value)
            elif event & GONE:
                gone.append(value)
                self._forget(value)
        return gone

    def count(self, size: int, connection: int | None = None) -> None:
        """A message of so many bytes was sent: to all, or to one."""
        if self._sent is not None:
            self._sent = Sent(self._sent.bytes + size, self._sent.messages + 1)
        elif connection is not None and (peer := self._peers.get(connection)) is not None:
            with self._lock:
                peer.account.owe(size)

    def took(self, size: int, connection: int) -> None:
        """So many bytes of what this connection says were taken."""
        if (peer := self._peers.get(connection)) is not None:
            peer.account.took(size)

    def room_for(self, connection: int) -> int:
        """About how many bytes may be sent to this connection alone; 0 while it has as much to read yet."""
        if (peer := self._peers.get(connection)) is None:
            return limits.MAX_REPLY_BYTES
        self._look_at(connection, peer)
        if peer.account.waiting > limits.MAX_REPLY_WAITING_BYTES:
            peer.account.ignored += 1
            if peer.account.ignored > limits.MAX_IGNORED:
                self.cut(connection, "it asks and does not read")
            return 0
        peer.account.ignored = 0
        return limits.reply_bytes(self.room(), peer.account.taken)

    def room(self) -> int:
        """How many bytes may wait yet for all together; more may be free than it knows."""
        with self._lock:
            return self._bounds.waiting_bytes - sum(peer.account.waiting for peer in self._peers.values())

    def make_room(self, size: int) -> None:
        """Cut off those who leave the most unread, until so much more may wait."""
        if self.room() < size:
            self._look(self._bounds._replace(waiting_bytes=max(0, self._bounds.waiting_bytes - size)))

    def connections(self) -> list[int]:
        """Those that it watches."""
        return list(self._peers)

    def knows(self, connection: int) -> bool:
        """Whether it watches this connection."""
        return connection in self._peers

    def cut(self, connection: int, why: str) -> None:
        """End a connection for what it says; for a while others have it less easy to come."""
        self._cut_at.append(time.monotonic())
        self._end(connection, why)

    def _end(self, connection: int, why: str) -> None:
        """End a connection. ZeroMQ clears up after it as after any that has broken."""
        peer = self._peers.get(connection)
        if peer is None:
            return
        with _handle(connection, peer.inode) as handle, contextlib.suppress(OSError):
            if handle is not None:
                handle.shutdown(socket.SHUT_RDWR)
                while handle.recv(MOST_THROWN_AWAY, socket.MSG_DONTWAIT):  # ZeroMQ would read it to its end
                    pass
        self._forget(connection)
        self.cuts += 1
        if time.monotonic() - self._logged >= QUIET_S:
            self._logged = time.monotonic()
            log.warning('%s.cut connections=%d reason="%s"', self._name, self.cuts, why)

    def close(self) -> None:
        """Look no more; before its socket is closed. Closing twice is harmless."""
        if not self._ended.is_set():
            self._ended.set()
            self._connected.set()
            self._thread.join()
            self._public.disable_monitor()
            self.monitor.close(linger=0)

    # ---- inside -------------------------------------------------------------------------------------------

    def _admit(self, connection: int) -> None:
        try:
            inode = os.fstat(connection).st_ino
            with _handle(connection, inode) as handle:
                if handle is None or handle.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) not in NETWORK:
                    return
        except OSError:
            return
        now = time.monotonic()
        cuts = sum(now - at < limits.COOL_S for at in self._cut_at.copy())
        bounds = limits.for_newcomers(self._bounds, cuts)
        refused = bool(cuts) and len(self._came) == limits.NEWCOMERS and now - self._came[0] < limits.NEW_S
        with self._lock:
            self._peers[connection] = Peer(inode, PeerAccount(bounds, self._most_waiting, now, self._sent))
        self._connected.set()
        if refused:
            self._end(connection, "too many new connections")
        elif len(self._peers) > limits.MAX_PEERS:
            self._end(connection, "too many connections")
        else:
            self._came.append(now)

    def _forget(self, connection: int) -> None:
        with self._lock:
            self._peers.pop(connection, None)

    def _watch(self) -> None:
        wait_s = LOOK_S
        while not self._ended.wait(wait_s):
            wait_s = self._look_as_needed()
            if not self._peers:
                self._connected.clear()
                if not self._peers and not self._ended.is_set():  # `close` may have set both just before
                    self._connected.wait()

    def _look_as_needed(self) -> float:
        """Look at all, or between two such looks at the loud ones; when to look again."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._look(self._bounds)
        with self._lock:
            loud = [item for item in self._peers.items() if item[1].account.is_loud(now)]
        for connection, peer in loud:
            self._look_at(connection, peer)
            if peer.account.is_over:
                self.cut(connection, limits.SAYS_TOO_MUCH)
        self._pace.spend(now, ended := time.monotonic())
        return max(LOUD_LOOK_S, self._pace.due - ended) if loud else LOOK_S

    def _look(self, bounds: Limits) -> None:
        with self._lock:
            peers = list(self._peers.items())
        for connection, peer in peers:
            self._look_at(connection, peer)
        accounts = ((connection, peer.account) for connection, peer in peers)
        for connection, why in limits.choose_over(accounts, bounds).items():
            end = self._end if why == limits.DOES_NOT_READ else self.cut
            end(connection, why)

    def _look_at(self, connection: int, peer: Peer) -> None:
        with self._lock, _handle(connection, peer.inode) as handle:
            if handle is not None:
                peer.account.look(time.monotonic(), _traffic(handle), self._sent)


@contextlib.contextmanager
def _handle(connection: int, inode: int) -> "Iterator[socket.socket | None]":
    """A handle of our own on ZeroMQ's connection, for a moment; None if it is not there any more."""
    try:
        handle = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, os.dup(connection))  # or it asks for all three
    except OSError:
        yield None
        return
    with handle:
        yield handle if os.fstat(handle.fileno()).st_ino == inode else None


def _traffic(handle: socket.socket) -> Traffic:
    """What the kernel has counted: `struct tcp_info` of linux/tcp.h (bytes_acked and bytes_received since Linux 4.1,
    notsent_bytes since 4.6)."""
    info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    unacknowledged, size = struct.unpack_from("=I", info, 24)[0], struct.unpack_from("=I", info, 16)[0]
    acknowledged, received = struct.unpack_from("=QQ", info, 120)
    unsent = struct.unpack_from("=I", info, 144)[0]
    return Traffic(received, acknowledged, unsent + unacknowledged * size)
