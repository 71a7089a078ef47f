"""Publishing: owns the sockets that results leave by, and who listens there. Decides nothing about order or the file.

Two sockets: an XPUB (on the wire a PUB; it also tells who subscribes) for live results, and a ROUTER, the history,
which answers from the results file who missed something: requests and replies of `rules/history.py`. Anybody who
reaches them may connect, so each has a guard; with keys, only who has one with the role `subscribe` gets in.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq

from zpipe.errors import ZpipeError
from zpipe.results.file import ResultsFile
from zpipe.results.guard import Admission, Guard
from zpipe.rules import history, limits

REJOIN_S = 3.0
"""How long we wait for subscribers that were there to come back, those of a sink that died, or in the end those whose
connection was cut: libzmq reconnects every 100 ms."""

MOST_WAITING = 10_000
"""High-water mark of the publisher: results that wait for one slow subscriber before it misses some (and fetches
them from the history). 10,000 results of 5 objects are about 10 MB."""

MOST_REPLIES = 16
"""High-water mark of the history. How much waits is bounded in bytes (`rules/limits.py`), and is less than this."""

MOST_TO_SEND_BYTES = 1 << 18
"""What the kernel keeps for one connection on its way; it would take 4 MB for each that does not read."""

MOST_TO_READ, MOST_TO_READ_BYTES = 16, 1152
"""What ZeroMQ and the kernel keep of what one connection says, until we take it; the rest waits with who says it. It is
little, since libzmq takes subscriptions for as long as there are more, and keeps whoever sends a result in that loop
until the thread that fills the queue is late. 1,152 is the least that Linux gives: 8 MB a second instead of 110."""

ECHO_S = 1.0

KEY_GONE = "its key opens nothing here any more"

Bind = Callable[["zmq.Socket[bytes]", "zmq.Socket[bytes]", str, str | None], tuple[str, str]]
"""Binds publisher and history to two endpoints (`transport/endpoints.py`); returns those to connect to."""


Secure = Callable[["zmq.Socket[bytes]", str, str], Admission | None]
"""Before a socket is bound to this endpoint, has it ask for keys; `name` is what its log says. None: it takes all."""


class Echo:
    """Tells when ZeroMQ's thread has done what it was asked to before: a message to ourselves through the same thread.

    It does what it is asked in order, and takes the echo in a later round than it sent it in. About 0.1 ms.
    """

    def __init__(self, path: Path) -> None:
        for dead in path.parent.glob("echo-*"):  # a run has one sink at a time: these are of killed ones
            dead.unlink(missing_ok=True)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._path = path
        self._mouth, self._ear = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        self._ear.rcvtimeo = int(ECHO_S * 1000)
        self._ear.bind(f"ipc://{path}")
        self._mouth.connect(f"ipc://{path}")

    def wait(self) -> None:
        """Until what was sent before has left, as far as its receivers take it."""
        self._mouth.send(b"")
        with contextlib.suppress(zmq.Again):  # a second for a message to ourselves: the machine has other troubles
            self._ear.recv()

    def close(self) -> None:
        """Close both ends; closing twice is harmless."""
        self._mouth.close(linger=0)
        self._ear.close(linger=0)
        self._path.unlink(missing_ok=True)


class Publisher:
    """The sink's public sockets, bound to `endpoints`.

    `behind`: zpipe subscribers that a sink before this one has left; `echo`: where a socket of our own may be (None:
    `publish` does not wait until a result is on its way). `secure`: makes the sockets ask for keys.
    """

    def __init__(
        self,
        bind: Bind,
        endpoints: tuple[str, str | None],
        behind: int = 0,
        echo: Path | None = None,
        secure: Secure = lambda socket, endpoint, name: None,
    ) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._echo = Echo(echo) if echo is not None else None
        self._audience = history.Audience(behind)
        self._gone: dict[bytes, float] = {}
        self.live = context.socket(zmq.XPUB)
        self.live.setsockopt(zmq.XPUB_VERBOSER, 1)
        self.live.setsockopt(zmq.SNDHWM, MOST_WAITING)
        self.live.setsockopt(zmq.MAXMSGSIZE, limits.MAX_TOPIC_BYTES)
        self.requests = context.socket(zmq.ROUTER)
        self.requests.setsockopt(zmq.SNDHWM, MOST_REPLIES)
        self.requests.setsockopt(zmq.MAXMSGSIZE, limits.MAX_REQUEST_BYTES)
        for socket in (self.live, self.requests):
            socket.setsockopt(zmq.SNDBUF, MOST_TO_SEND_BYTES)
            socket.setsockopt(zmq.RCVBUF, MOST_TO_READ_BYTES)
            socket.setsockopt(zmq.RCVHWM, MOST_TO_READ)
        self._live_guard = Guard("publisher", self.live, limits.PUBLISHER, MOST_WAITING, shared=True)
        self._requests_guard = Guard("history", self.requests, limits.HISTORY, MOST_REPLIES, shared=False)
        self.monitors = [self._live_guard.monitor, self._requests_guard.monitor]
        self._topics = limits.Topics()
        self._subscriptions, self._questions = limits.Share(), limits.Share()
        self._is_skipping = False
        self._bind = bind
        self._live_guard.admission = secure(self.live, endpoints[0], "publisher")
        self._requests_guard.admission = secure(self.requests, endpoints[1] or endpoints[0], "history")
        try:
            self.endpoints = bind(self.live, self.requests, *endpoints)
        except ZpipeError:
            self.close()
            raise

    def publish(self, topic: bytes, line: bytes) -> None:
        """Returns when the result is on its way to those who could not ask for it again."""
        self.live.send(topic, zmq.SNDMORE)
        self.live.send(line)
        self._live_guard.count(len(topic) + len(line))
        if self._echo is not None and self._audience.plain:
            self._echo.wait()

    @property
    def subscribers(self) -> int:
        """How many are subscribed to results."""
        return self._audience.subscribers

    @property
    def plain(self) -> int:
        """How many of them are not zpipe's."""
        return self._audience.plain

    def meet_connections(self) -> None:
        """Take what the sockets tell of who comes and goes."""
        for connection in self._live_guard.meet():
            self._topics.end(connection)
        self._requests_guard.meet()

    @property
    def due(self) -> "dict[zmq.Socket[bytes], float]":
        """From when on (of `time.monotonic`) these sockets want to be polled: strangers have a share of the time."""
        return {self.live: self._subscriptions.due, self.requests: self._questions.due}

    def meet_subscribers(self) -> None:
        """Take what the publisher's socket tells of subscriptions, a bounded number of them."""
        self.meet_connections()
        began = time.monotonic()
        with contextlib.suppress(zmq.Again):
            for _ in range(limits.MAX_EVENTS_A_TURN):
                self._hear(self.live.recv(zmq.NOBLOCK, copy=False))
        self._subscriptions.spend(began, time.monotonic())

    def missing(self) -> int:
        """How many zpipe subscribers have not everything: those here, and those that may be on their way back."""
        now, gone = time.monotonic(), self._audience.gone
        self._gone = {name: self._gone.get(name, now) for name in gone}
        gone -= {name for name, since in self._gone.items() if now - since > REJOIN_S}
        return len(self._audience.behind) + len(gone)

    def answer(self, run: str, streams: list[str], file: ResultsFile, more: bool = False) -> None:
        """Answer one request from the file (`more`: further streams may come). One that is none is dropped, and that of
        who has a reply to read yet."""
        self.meet_connections()
        began = time.monotonic()
        for _ in range(limits.MAX_QUESTIONS_A_TURN):
            if self._answer(run, streams, file, more):
                return
            if not self.requests.poll(0):
                break
        self._questions.spend(began, time.monotonic())

    def _answer(self, run: str, streams: list[str], file: ResultsFile, more: bool) -> bool:
        """Take one request; whether it was answered."""
        parts = self._take_request()
        if not parts:
            return False
        *envelope, request = parts
        connection = connection_of(request)
        guard = self._requests_guard
        if not self._is_heard(guard, request) or not (most_bytes := guard.room_for(connection)):
            return False
        reply = reply_to(request.bytes, run, streams, file, self._audience, most_bytes, more)
        if reply is None:
            return False
        guard.make_room(len(reply))  # one line may be longer than a share
        guard.count(len(reply), connection)
        self.requests.send_multipart([*envelope, reply], zmq.NOBLOCK)
        return True

    def _take_request(self) -> "list[zmq.Frame]":
        """The parts of the next request; none if it has too many: its sender is cut off, the rest of it dropped."""
        parts: list[zmq.Frame] = []
        for _ in range(limits.MAX_EVENTS_A_TURN):
            try:
                part = self.requests.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return []
            parts.append(part)
            if not self._is_skipping and len(parts) > limits.MAX_REQUEST_PARTS:
                self._is_skipping = True
                self._requests_guard.cut(connection_of(part), "its question has too many parts")
            if not part.more:
                was_skipping, self._is_skipping = self._is_skipping, False
                return [] if was_skipping else parts
        return []

    def bind_again(self) -> None:
        """At the same endpoints: the server's pairs have changed. All connections end; libzmq's clients come back."""
        for socket, endpoint in zip((self.live, self.requests), self.endpoints, strict=True):
            socket.unbind(endpoint)
        self.endpoints = self._bind(self.live, self.requests, *self.endpoints)

    def drop_unwelcome(self) -> None:
        """End the connections of those whose key was removed. May be called from another thread."""
        for guard in (self._live_guard, self._requests_guard):
            for connection in guard.admission.unwelcome() if guard.admission is not None else []:
                guard.cut(connection, KEY_GONE)

    def _is_heard(self, guard: Guard, part: zmq.Frame) -> bool:
        """Whether who has sent this may be here; else its connection ends."""
        if guard.admission is None:
            return True
        self.meet_connections()  # now, or the descriptor could still be that of somebody before
        connection = connection_of(part)
        if connection >= 0 and guard.admission.admit(connection, part):
            return True
        guard.cut(connection, KEY_GONE)
        return False

    def _hear(self, part: zmq.Frame) -> None:
        """Take an event of an XPUB socket."""
        event = part.bytes
        if event[:1] not in (b"\x00", b"\x01"):  # what an XSUB peer sends upstream is no subscription
            return
        connection, address = connection_of(part), address_of(part)
        if connection < 0:  # libzmq tells of each topic of a connection that has ended
            self._audience.heard(event)
        elif self._topics.change(connection, address, event):
            self._audience.heard(event)
            if not self._is_heard(self._live_guard, part):
                return
            if self._live_guard.knows(connection) and (over := self._topics.choose_over(connection)) is not None:
                self._live_guard.cut(*over)

    def close(self) -> None:
        """Close the sockets. What was published leaves first, as far as subscribers take it."""
        if self._echo is not None:
            self._echo.close()
        for guard in (self._live_guard, self._requests_guard):
            guard.close()
        self.live.close(linger=2000)
        self.requests.close(linger=2000)


def connection_of(part: zmq.Frame) -> int:
    """The descriptor of the connection that a part has come by; -1: none any more, or not one of the network."""
    try:
        return int(part.get(zmq.SRCFD))
    except zmq.ZMQError:
        return -1


def address_of(part: zmq.Frame) -> str:
    """Who is at the other end of the connection that a part has come by."""
    try:
        return str(part.get("Peer-Address"))
    except zmq.ZMQError:
        return ""


def reply_to(
    data: bytes, run: str, streams: list[str], file: ResultsFile, audience: history.Audience, most_bytes: int,
    more: bool = False,
) -> bytes | None:  # fmt: skip
    """The reply to a request, as one part; None if it is no request."""
    try:
        request = history.read_request(data)
    except msgspec.DecodeError:
        return None
    if request.done:
        audience.has_everything(request.subscriber.encode())
    states = [history.StreamState(name, file.stream(name).seq, file.stream(name).closed) for name in streams]
    lines = []
    if request.stream is not None:
        lines = file.lines(request.stream, max(1, request.first), most_bytes=most_bytes)
    return history.write_reply(history.Reply(run, states, lines, more))
