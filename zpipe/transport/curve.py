"""CURVE at the public sockets: owns how a socket is secured, on both sides, and the door at which keys are shown.

Beyond loopback every socket of a server has a pair, and a ZAP domain, which is the role that a client must have there.
libzmq does the cryptography; at each handshake it asks the door of its context (ZeroMQ RFC 27) whether the client's key
is let in, and puts what the door answers, the client's public key, into each message as `User-Id`. It asks only then:
of who holds a connection for long, `Keys.may` says what holds now (visitors.py).

A listener has one pair. While clients of two exist, two listeners share the port (SO_REUSEPORT), and the kernel deals
connections between them: who meets the wrong one is refused and tries again a moment later, as libzmq does by itself.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import zmq
from zmq.utils import z85

from zpipe.errors import KeysError
from zpipe.rules.monitor import parse_event
from zpipe.rules.refusals import Refusals
from zpipe.transport.keys import LOOK_S, Keys, read_own_key

ZAP = "inproc://zeromq.zap.01"
VERSION, LET_IN, REFUSED = b"1.0", b"200", b"400"

CLOSED_S = 1.0
"""Within this time ZeroMQ's thread has closed a socket that was closed."""

BACKLOG = 100
"""Connections that wait to be accepted: libzmq's own number."""

FAILED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
OTHER_MECHANISM = zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH

log = logging.getLogger(__name__)


def is_secured(endpoint: str) -> bool:
    """Keys are for TCP. An ipc endpoint is a file, and who may open that, the file system says."""
    return endpoint.startswith("tcp://")


def secure_server(public: "zmq.Socket[bytes]", keys: Keys, role: str) -> None:
    """Before it is bound: whoever connects must have a key with this role. A door of its context must be open."""
    public.curve_server = True
    public.curve_secretkey = keys.pairs[0].secret.encode()
    public.zap_domain = role.encode()
    public.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without a door nobody is let in, rather than everybody


def secure_client(socket: "zmq.Socket[bytes]", key_file: Path | str) -> None:
    """Before it connects: show the key in this file, and talk to nobody but its server."""
    key = read_own_key(key_file)
    socket.curve_publickey, socket.curve_secretkey = key.pair.public.encode(), key.pair.secret.encode()
    socket.curve_serverkey = key.server.encode()


def bind_for(keys: Keys) -> "Callable[[zmq.Socket[bytes], str], None]":
    """How a secured socket is bound: as any, but once for each pair that the server has now."""

    def bind(public: "zmq.Socket[bytes]", endpoint: str) -> None:
        if not is_secured(endpoint):
            public.bind(endpoint)
            return
        public.curve_secretkey = keys.pairs[0].secret.encode()
        if len(keys.pairs) == 1:
            public.bind(endpoint)
            return
        bound = _resolve(public.context, endpoint)
        for pair in reversed(keys.pairs):
            listener = _listen(bound)
            public.curve_secretkey = pair.secret.encode()
            public.setsockopt(zmq.USE_FD, listener.detach())  # ZeroMQ closes it
            public.bind(endpoint)
        public.setsockopt(zmq.USE_FD, -1)

    return bind


class Door:
    """Says who is let in: at each handshake of a socket of this context that `secure_server` has made.

    On a thread, so that nobody who knocks waits for results to be published, and no result for them. `on_change` is
    called there when somebody came, went or was changed: who is in already is its business.
    """

    on_change: Callable[[], None]

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", keys: Keys) -> None:
        self._keys = keys
        self.on_change = lambda: None
        self.refusals = Refusals()
        self._asked = context.socket(zmq.ROUTER)
        self._asked.linger = 0
        try:
            self._asked.bind(ZAP)
        except zmq.ZMQError:
            self._asked.close()
            raise
        self._end = os.eventfd(0)
        self._thread = threading.Thread(target=self._serve, name="door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nobody is let in any more. Closing twice is harmless."""
        if self._thread.is_alive():
            os.eventfd_write(self._end, 1)
            self._thread.join()
            self._asked.close()
            os.close(self._end)

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._asked, zmq.POLLIN)
        poller.register(self._end, zmq.POLLIN)
        changes = self._keys.changes
        while self._end not in (ready := dict(poller.poll(int(LOOK_S * 1000)))):
            if self._asked in ready:
                self._answer(self._asked.recv_multipart())
            self._keys.look()
            if self._keys.changes != changes:
                changes = self._keys.changes
                self.on_change()

    def _answer(self, question: list[bytes]) -> None:
        """Request: envelope, empty part, version, number, domain, address, routing id, mechanism, key."""
        if len(question) != 9 or question[2] != VERSION or question[7] != b"CURVE":
            return  # libzmq asks nothing else of a socket that is secured; who gets no answer is not let in
        envelope, (number, domain, address), key = question[:2], question[3:6], question[8]
        user, role = z85.encode(key).decode(), domain.decode()
        refused = self._why_refused(user, role)
        if refused is not None and (line := self.refusals.heard(address.decode(), refused)) is not None:
            log.warning('keys.refused host=%s times=%d reason="%s"', *line, refused)
        answer = [REFUSED, b"not allowed", b""] if refused is not None else [LET_IN, b"", user.encode()]
        self._asked.send_multipart([*envelope, VERSION, number, *answer, b""])

    def _why_refused(self, user: str, role: str) -> str | None:
        if not self._keys.may(user, role):
            self._keys.look(at_once=True)  # it may be new, and libzmq's client never comes again once it is refused
        client = self._keys.find(user)
        if client is None:
            return f"nobody here has the key {user}"
        return None if role in client.roles else f"the key of {client.name} is not for the role {role}"


class Handshakes:
    """Of sockets that have connected nowhere yet: whether they were refused. libzmq itself says nothing, and stops."""

    def __init__(self, endpoint: str, key: Path | str | None, *sockets: "zmq.Socket[bytes]") -> None:
        self._endpoint, self._key = endpoint, key
        self._sockets = sockets
        self._monitors = [one.get_monitor_socket(FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED) for one in sockets]
        self.broken_off = 0
        """Handshakes that the other side has ended without a word, since the last that succeeded."""

    def check(self) -> None:
        """KeysError if the other side does not accept our key, or the lack of one."""
        for monitor in self._monitors:
            while monitor.poll(0):
                self._take(*parse_event(monitor.recv_multipart()))

    def close(self) -> None:
        """Before the sockets are closed. Closing twice is harmless."""
        for one, monitor in zip(self._sockets, self._monitors, strict=True):
            if not monitor.closed:
                one.disable_monitor()
                monitor.close(linger=0)

    def _take(self, event: int, value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.broken_off = 0
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self.broken_off += 1
        check_handshake(event, value, self._endpoint, self._key)


def check_handshake(event: int, value: int, endpoint: str, key: Path | str | None) -> None:
    """Of what a client's monitor tells: KeysError if the other side does not accept its key, or the lack of one."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        raise KeysError(
            f"{endpoint} does not let in the key of {key}: it was removed, or has not the role for this (`zpipe keys "
            "list` there)"
        )
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == OTHER_MECHANISM:
        if key is None:
            raise KeysError(f"{endpoint} wants a key: --key FILE (made there by `zpipe keys add NAME`)")
        raise KeysError(f"{endpoint} has no keys: leave out --key, or set `keys` in the config there")


# ---- inside -------------------------------------------------------------------------------------------------


def _resolve(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> str:
    """The endpoint in numbers, as ZeroMQ reads it, and free: it is an error if somebody else listens there."""
    with context.socket(zmq.PULL) as probe:
        probe.bind(endpoint)
        return bytes(probe.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()


def _listen(endpoint: str) -> socket.socket:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    listener = socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    deadline = time.monotonic() + CLOSED_S
    while True:
        try:
            listener.bind((host.strip("[]"), int(port)))
            listener.listen(BACKLOG)
            return listener
        except OSError as error:
            if time.monotonic() > deadline:
                listener.close()
                raise zmq.ZMQError(error.errno) from None
            time.sleep(0.001)
