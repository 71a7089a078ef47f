"""A sender's connection: owns the socket and the thread that uses it, and makes a new one whenever it is lost.

What is kept and what is sent next is `rules/outbox.py`; the lock around that, and whoever waits, is in `sender.py`.
"""

import os
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import zmq
from zmq.utils.monitor import recv_monitor_message

from zpipe import upload
from zpipe.errors import KeysError, WireError, ZpipeError
from zpipe.sender.frames import Parcel
from zpipe.transport.curve import FAILED, check_handshake, is_secured, secure_client

MOST_QUEUED = 4
"""High-water mark: frames that ZeroMQ holds for us on their way; what more there is stays in the outbox."""

HEARTBEAT_MS, SILENT_MS = 5_000, 15_000
"""How often the gate is asked whether it lives, and how long it may not answer."""

QUIET_S, MOST_QUIET_S = 5.0, 30.0
"""After so long without a word, although one is awaited, we say hello again; then less and less often."""

FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 2.0
"""Between the end of a connection and the next try, longer and longer, and not all senders at the same moment."""

TURN_MS = 200


class Talk(Protocol):
    """What is said and heard; all of it is called on the connection's thread."""

    def hello(self) -> upload.Hello:
        """What to say first."""

    def hear(self, message: upload.ToSender) -> None:
        """The gate says something."""

    def has_frame(self) -> bool:
        """Whether there is a frame to be sent."""

    def next_frame(self) -> tuple[int, Parcel] | None:
        """The next frame to be sent, and its number: it counts as sent."""

    def next_end(self) -> int | None:
        """The number of frames, when the end is to be said."""

    def is_waiting(self) -> bool:
        """Whether an answer is awaited."""

    def fail(self, error: ZpipeError) -> None:
        """There will be no connection, for this reason."""

    def lost(self) -> None:
        """The connection is lost; what was said on it may be, too."""


Sockets = tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]
"""The socket, and its monitor."""


class Connection:
    """To the gate at `endpoint`, until `close`. `key`: file of the key pair, if the gate asks for one."""

    def __init__(self, endpoint: str, talk: Talk, key: Path | str | None) -> None:
        self._endpoint = endpoint
        self._talk = talk
        self._key = key
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ended = False
        self._greets_again = False
        self._pause_s = FIRST_PAUSE_S
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._first: Sockets | None = self._open()  # what is wrong with the endpoint is said at once
        self._thread = threading.Thread(target=self._run, name="zpipe-sender", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something to send."""
        os.eventfd_write(self._wake, 1)

    def greet(self) -> None:
        """Say hello again."""
        self._greets_again = True
        self.wake()

    def close(self) -> None:
        """End it; closing twice is harmless."""
        if not self._context.closed:
            self._ended = True
            self.wake()
            self._thread.join()
            self._context.term()
            os.close(self._wake)

    # ---- on the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended:
            (socket, monitor), self._first = self._first or self._open(), None
            try:
                self._serve(socket, monitor)
            except zmq.Again:  # lost between two looks at it: nobody takes what is said
                pass
            finally:
                _close(socket, monitor)
            if not self._ended:
                self._talk.lost()
                time.sleep(self._pause_s * random.uniform(0.5, 1))  # noqa: S311
                self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)

    def _open(self) -> "Sockets":
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.setsockopt(zmq.SNDHWM, MOST_QUEUED)
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, int(LAST_PAUSE_S * 1000))
        socket.setsockopt(zmq.IPV6, "[" in self._endpoint)
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | FAILED)
        try:
            if self._key is not None and is_secured(self._endpoint):
                secure_client(socket, self._key)
            socket.connect(self._endpoint)
        except (zmq.ZMQError, KeysError) as error:
            _close(socket, monitor)
            if isinstance(error, KeysError):
                raise
            raise ZpipeError(f"cannot connect to {self._endpoint!r}: {error.strerror}") from None
        return socket, monitor

    def _serve(self, socket: "zmq.Socket[bytes]", monitor: "zmq.Socket[bytes]") -> None:
        """Until the connection is lost, or the end."""
        poller = zmq.Poller()
        for item in (monitor, self._wake):
            poller.register(item, zmq.POLLIN)
        self._say(socket, self._talk.hello())
        heard_at, quiet_s = time.monotonic(), QUIET_S
        while not self._ended:
            poller.register(socket, zmq.POLLIN | (zmq.POLLOUT if self._talk.has_frame() else 0))
            ready = dict(poller.poll(TURN_MS))
            if self._wake in ready:
                os.eventfd_read(self._wake)
            if monitor in ready:
                self._notice_loss(recv_monitor_message(monitor))
                return
            if ready.get(socket, 0) & zmq.POLLIN and self._hear(socket):
                heard_at, quiet_s, self._pause_s = time.monotonic(), QUIET_S, FIRST_PAUSE_S
            if ready.get(socket, 0) & zmq.POLLOUT and (frame := self._talk.next_frame()) is not None:
                self._send(socket, *frame)
            if (count := self._talk.next_end()) is not None:
                self._say(socket, upload.LastFrame(count))
            is_quiet = time.monotonic() - heard_at > quiet_s and self._talk.is_waiting()
            if self._greets_again or is_quiet:
                self._greets_again = False
                heard_at, quiet_s = time.monotonic(), min(2 * quiet_s, MOST_QUIET_S)
                self._say(socket, self._talk.hello())

    def _notice_loss(self, event: Mapping[str, Any]) -> None:
        """The connection has ended, or its handshake has failed: it may be no use to try again."""
        try:
            check_handshake(event["event"], event["value"], self._endpoint, self._key)
        except KeysError as error:
            self._ended = True
            self._talk.fail(error)

    def _hear(self, socket: "zmq.Socket[bytes]") -> bool:
        """Take all that is there; whether any of it was for us."""
        heard = False
        while socket.poll(0):
            parts = socket.recv_multipart()
            try:
                message = upload.decode_to_sender(parts[0])
            except WireError:
                continue
            heard = True
            if isinstance(message, upload.WhoAreYou):
                self._say(socket, self._talk.hello())
            else:
                self._talk.hear(message)
        return heard

    def _send(self, socket: "zmq.Socket[bytes]", seq: int, frame: Parcel) -> None:
        head = upload.encode(frame.head(seq))
        if frame.reason:
            socket.send(head, zmq.NOBLOCK)
        else:
            socket.send(head, zmq.NOBLOCK | zmq.SNDMORE)
            socket.send(frame.data, zmq.NOBLOCK, copy=False)

    def _say(self, socket: "zmq.Socket[bytes]", message: upload.FromSender) -> None:
        """Words, unlike frames, are few: where there is no room even for them, the connection does not live."""
        if socket.poll(1000, zmq.POLLOUT):
            socket.send(upload.encode(message), zmq.NOBLOCK)


def _close(socket: "zmq.Socket[bytes]", monitor: "zmq.Socket[bytes]") -> None:
    socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=0)
