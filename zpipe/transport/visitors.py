"""The visitors of a public socket with keys: owns who has come on which connection, and who was refused.

It lets nobody in (curve.py does) and ends no connection: it says whose it is time to end.

A monitor tells of connections by their descriptors, and of a handshake that has failed just before it tells that the
connection is gone: one thread of ZeroMQ does both. With a message comes the key of who sent it.
"""

import logging
import os
import socket
import threading

import zmq

from zpipe.rules.refusals import Refusals
from zpipe.transport.curve import FAILED, is_secured, secure_server
from zpipe.transport.keys import Keys

NOTHING_SAID = "it left before it had shown a key"
BROKEN_OFF = "it broke off its handshake"
REASONS = {
    int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH): "it speaks without a key",
    int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC): "it knows another server's key",
}
NO_HANDSHAKE = "what it says is no handshake"

log = logging.getLogger(__name__)


class Visitors:
    """Of the socket that is called `name` in the log; they need the role. Safe to be used from several threads."""

    def __init__(self, name: str, keys: Keys, role: str) -> None:
        self._name, self._keys, self._role = name, keys, role
        self._lock = threading.Lock()
        self._hosts: dict[int, str] = {}
        self._users: dict[int, str] = {}
        self._failed: str | None = None
        self.refusals = Refusals()

    def heard(self, event: int, value: int) -> None:
        """Take what the socket's monitor tells; of a connection `value` is its descriptor."""
        with self._lock:
            if event == zmq.EVENT_ACCEPTED:
                self._hosts[value] = _host_of(value)
            elif event & FAILED:
                self._failed = _reason_of(event, value)
            else:
                self._see_off(value)

    def admit(self, connection: int, part: zmq.Frame) -> bool:
        """Whether this part of a message, which has come by this connection, is to be heard.

        What the monitor told before it came must have been taken: descriptors are given to others again.
        """
        user_id = user_of(part)
        if not self._keys.may(user_id, self._role):
            return False
        with self._lock:
            self._users[connection] = user_id
        return True

    def unwelcome(self) -> list[int]:
        """The connections of those who may not be here any more."""
        with self._lock:
            users = list(self._users.items())
        return [connection for connection, user_id in users if not self._keys.may(user_id, self._role)]

    def _see_off(self, connection: int) -> None:
        host, user_id = self._hosts.pop(connection, None), self._users.pop(connection, None)
        reason, self._failed = self._failed, None
        if host is None or user_id is not None:
            return
        reason = NOTHING_SAID if reason is None else reason
        if not reason or (reason == REASONS[zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC] and len(self._keys.pairs) > 1):
            return
        if (line := self.refusals.heard(host, reason)) is not None:
            log.warning('%s.refused host=%s times=%d reason="%s"', self._name, *line, reason)


def receive_at(keys: Keys, role: str, public: "zmq.Socket[bytes]", endpoint: str, name: str) -> Visitors | None:
    """Before a socket is bound to this endpoint: ask everybody there for a key with this role; who they are.

    None: at such an endpoint nobody is asked.
    """
    if not is_secured(endpoint):
        return None
    secure_server(public, keys, role)
    return Visitors(name, keys, role)


def user_of(part: zmq.Frame) -> str:
    """The key of who has sent this part; empty: nobody who has shown one."""
    try:
        return str(part.get("User-Id"))
    except zmq.ZMQError:
        return ""


def _reason_of(event: int, value: int) -> str:
    """Empty: the door has refused the key, and said so."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return ""
    return BROKEN_OFF if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL else REASONS.get(value, NO_HANDSHAKE)


def _host_of(connection: int) -> str:
    try:
        with socket.socket(fileno=os.dup(connection)) as handle:
            return str(handle.getpeername()[0])
    except (OSError, IndexError):
        return "unknown"  # it has gone already
