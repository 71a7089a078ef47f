"""Publishing: owns the sockets that results leave by, and who listens there. Decides nothing about order or the file.

Two sockets: an XPUB (on the wire a PUB; it also tells who subscribes) for live results, and a ROUTER, the history,
which answers from the results file who missed something: requests and replies of `rules/history.py`.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq

from zpipe.errors import ZpipeError
from zpipe.results.file import ResultsFile
from zpipe.rules import history

REJOIN_S = 3.0
"""How long we wait for subscribers that were there to come back, those of a sink that died, or in the end those whose
connection was cut: libzmq reconnects every 100 ms."""

MOST_WAITING = 10_000
"""High-water mark of the publisher: results that wait for one slow subscriber before it misses some (and fetches
them from the history). 10,000 results of 5 objects are about 10 MB."""

MOST_REPLIES = 16
"""Replies of 1 MB that wait for somebody who asks and does not read; further ones are dropped, and asked for again."""

ECHO_S = 1.0

Bind = Callable[["zmq.Socket[bytes]", "zmq.Socket[bytes]", str, str | None], tuple[str, str]]
"""Binds publisher and history to two endpoints (`transport/endpoints.py`); returns those to connect to."""


class Echo:
    """Tells when ZeroMQ's thread has done what it was asked to before: a message to ourselves through the same thread.

    It does what it is asked in order, and takes the echo in a later round than it sent it in. About 0.1 ms.
    """

    def __init__(self, path: Path) -> None:
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
    `publish` does not wait until a result is on its way).
    """

    def __init__(
        self, bind: Bind, endpoints: tuple[str, str | None], behind: int = 0, echo: Path | None = None
    ) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._echo = Echo(echo) if echo is not None else None
        self._audience = history.Audience(behind)
        self._gone: dict[bytes, float] = {}
        self.live = context.socket(zmq.XPUB)
        self.live.setsockopt(zmq.XPUB_VERBOSER, 1)
        self.live.set_hwm(MOST_WAITING)
        self.requests = context.socket(zmq.ROUTER)
        self.requests.setsockopt(zmq.SNDHWM, MOST_REPLIES)
        self.requests.setsockopt(zmq.MAXMSGSIZE, history.MAX_REQUEST_BYTES)
        try:
            self.endpoints = bind(self.live, self.requests, *endpoints)
        except ZpipeError:
            self.close()
            raise

    def publish(self, topic: bytes, line: bytes) -> None:
        """Returns when the result is on its way to those who could not ask for it again."""
        self.live.send(topic, zmq.SNDMORE)
        self.live.send(line)
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

    def meet_subscribers(self) -> None:
        """Take what the publisher's socket tells of subscriptions."""
        while int(self.live.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._audience.heard(self.live.recv())

    def missing(self) -> int:
        """How many zpipe subscribers have not everything: those here, and those that may be on their way back."""
        now, gone = time.monotonic(), self._audience.gone
        self._gone = {name: self._gone.get(name, now) for name in gone}
        gone -= {name for name, since in self._gone.items() if now - since > REJOIN_S}
        return len(self._audience.behind) + len(gone)

    def answer(self, run: str, streams: list[str], file: ResultsFile) -> None:
        """Answer one request from the file; a request that is none is dropped."""
        parts = self.requests.recv_multipart()
        reply = reply_to(parts[-1], run, streams, file, self._audience)
        if reply is not None:
            self.requests.send_multipart([*parts[:-1], reply], zmq.NOBLOCK)

    def close(self) -> None:
        """Close the sockets. What was published leaves first, as far as subscribers take it."""
        if self._echo is not None:
            self._echo.close()
        self.live.close(linger=2000)
        self.requests.close(linger=2000)


def reply_to(data: bytes, run: str, streams: list[str], file: ResultsFile, audience: history.Audience) -> bytes | None:
    """The reply to a request, as one part; None if it is no request."""
    try:
        request = history.read_request(data)
    except msgspec.DecodeError:
        return None
    if request.done:
        audience.has_everything(request.subscriber.encode())
    states = [history.StreamState(name, file.stream(name).seq, file.stream(name).closed) for name in streams]
    lines = file.lines(request.stream, max(1, request.first)) if request.stream is not None else []
    return history.write_reply(history.Reply(run, states, lines))
