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
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import zmq
from zmq.utils.monitor import recv_monitor_message

from zpipe.rules import limits
from zpipe.rules.limits import Limits, PeerAccount, Sent, Traffic

LOOK_S = 0.05
"""How often it looks while somebody is connected: a flood of 150 MB a second has brought 8 MB by then."""

QUIET_S = 10.0
"""So often it is logged that connections were cut off, at most."""

FAILED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
GONE = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
EVENTS = zmq.EVENT_ACCEPTED | GONE | FAILED

log = logging.getLogger(__name__)


@dataclass
class Peer:
    """A connection: its account, the inode by which its descriptor is known again, what was sent to it alone."""

    inode: int
    account: PeerAccount
    sent: Sent = field(default_factory=Sent)


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
        self._name, self._bounds, self._most_waiting, self._shared = name, bounds, most_waiting, shared
        self._sent = Sent()
        self._peers: dict[int, Peer] = {}
        self._lock = threading.Lock()
        self._gone: list[int] = []
        self._logged = -QUIET_S
        self._ended = threading.Event()
        self._connected = threading.Event()
        self.cuts = 0
        self.admission: Admission | None = None
        self.monitor = public.get_monitor_socket(EVENTS)
        self._public = public
        self._thread = threading.Thread(target=self._watch, name=f"guard-{name}", daemon=True)
        self._thread.start()

    def meet(self) -> list[int]:
        """Take what the monitor tells; the descriptors whose connections are gone since the last call."""
        for _ in range(limits.MAX_EVENTS_A_TURN):
            if not self.monitor.poll(0):
                break
            event = recv_monitor_message(self.monitor)
            if self.admission is not None:
                self.admission.heard(int(event["event"]), int(event["value"]))
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._admit(int(event["value"]))
            elif event["event"] & GONE:
                self._forget(int(event["value"]))
        with self._lock:
            gone, self._gone = self._gone, []
        return gone

    def count(self, size: int, connection: int | None = None) -> None:
        """A message of so many bytes was sent: to all, or to one."""
        if self._shared:
            self._sent = Sent(self._sent.bytes + size, self._sent.messages + 1)
        elif connection is not None and (peer := self._peers.get(connection)) is not None:
            peer.sent = Sent(peer.sent.bytes + size, peer.sent.messages + 1)

    def took(self, size: int, connection: int) -> None:
        """So many bytes of what this connection says were taken."""
        if (peer := self._peers.get(connection)) is not None:
            peer.account.took(size)

    def waiting_for(self, connection: int) -> int:
        """About how many bytes wait for this connection now."""
        peer = self._peers.get(connection)
        if peer is None:
            return 0
        self._look_at(connection, peer)
        return peer.account.waiting

    def connections(self) -> list[int]:
        """Those that it watches."""
        return list(self._peers)

    def knows(self, connection: int) -> bool:
        """Whether it watches this connection."""
        return connection in self._peers

    def cut(self, connection: int, why: str) -> None:
        """End a connection. ZeroMQ clears up after it as after any that has broken."""
        peer = self._peers.get(connection)
        if peer is None:
            return
        with _handle(connection, peer.inode) as handle, contextlib.suppress(OSError):
            if handle is not None:
                handle.shutdown(socket.SHUT_RDWR)
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
                if handle is None or handle.family not in (socket.AF_INET, socket.AF_INET6):
                    return
        except OSError:
            return
        account = PeerAccount(self._bounds, self._most_waiting, time.monotonic(), self._sent)
        with self._lock:
            self._peers[connection] = Peer(inode, account)
        self._connected.set()
        if len(self._peers) > limits.MAX_PEERS:
            self.cut(connection, "too many connections")

    def _forget(self, connection: int) -> None:
        with self._lock:
            if self._peers.pop(connection, None) is not None:
                self._gone.append(connection)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._look()
            if not self._peers:
                self._connected.clear()
                if not self._peers and not self._ended.is_set():  # `close` may have set both just before
                    self._connected.wait()

    def _look(self) -> None:
        with self._lock:
            peers = list(self._peers.items())
        for connection, peer in peers:
            self._look_at(connection, peer)
        accounts = ((connection, peer.account) for connection, peer in peers)
        for connection, why in limits.choose_over(accounts, self._bounds).items():
            self.cut(connection, why)

    def _look_at(self, connection: int, peer: Peer) -> None:
        with self._lock, _handle(connection, peer.inode) as handle:
            if handle is not None:
                peer.account.look(time.monotonic(), _traffic(handle), self._sent if self._shared else peer.sent)


@contextlib.contextmanager
def _handle(connection: int, inode: int) -> "Iterator[socket.socket | None]":
    """A handle of our own on ZeroMQ's connection, for a moment; None if it is not there any more."""
    try:
        handle = socket.socket(fileno=os.dup(connection))
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
