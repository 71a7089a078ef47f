"""The sink: puts each stream in order, logs it, publishes it, and serves what was published to who missed it.

In this order for each result: log, publish, acknowledge. So a result that was acknowledged is in the file and was
published; one that was not comes again after a crash and is found in the file. It is not logged again, and published
again only if it was the one under way (the board knows; the broker hands it on). Published means that ZeroMQ's thread
has given it to the kernel, which a plain subscriber makes us wait for: so it sees one number twice at most, and no gap.

Two sockets: an XPUB (on the wire a PUB; it also tells who subscribes) for live results, and a ROUTER, the history,
that answers from the results file: request `[stream, first]` and reply `[run, streams, lines]` as MessagePack.
"""

import contextlib
import logging
import time
from collections.abc import Collection
from pathlib import Path

import msgspec
import zmq

from zpipe import messages, wire
from zpipe.config.keys import Config
from zpipe.errors import ZpipeError
from zpipe.results.file import ResultsFile
from zpipe.rules import history
from zpipe.transport.board import Heart
from zpipe.transport.endpoints import bind_pair
from zpipe.transport.link import BEAT_MS, WorkerLink

REJOIN_S = 3.0
"""How long we wait for subscribers that were there to come back, those of a sink that died, or in the end those whose
connection was cut: libzmq reconnects every 100 ms."""

MOST_WAITING = 10_000
"""High-water mark of the publisher: results that wait for one slow subscriber before it misses some (and fetches
them from the history). 10,000 results of 5 objects are about 10 MB."""

LINGER_MS = 100

MOST_REPLIES = 16
"""Replies of 1 MB that wait for somebody who asks and does not read; further ones are dropped, and asked for again."""

log = logging.getLogger(__name__)


class Echo:
    """Tells when ZeroMQ's thread has done what it was asked to before: a message to ourselves through the same thread.

    It does what it is asked in order, and takes the echo in a later round than it sent it in. About 0.1 ms.
    """

    def __init__(self, path: Path) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._mouth, self._ear = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        self._ear.rcvtimeo = BEAT_MS
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


class Sink:
    """The sink's work. `published[stream]` is what the broker knows to be published; `endpoints` to publish on.

    Of the sinks before this one, `under_way` are the (stream, seq) that they died on (None: not known), `behind` the
    zpipe subscribers that had not everything. `folder`: where a socket of the sink's own may be.
    """

    def __init__(
        self,
        config: Config,
        link: WorkerLink,
        heart: Heart,
        run: str,
        published: list[int],
        endpoints: tuple[str, str | None],
        under_way: Collection[tuple[int, int]] | None = None,
        folder: Path | None = None,
        behind: int = 0,
    ) -> None:
        self._link = link
        self._heart = heart
        self._run = run
        self._streams = [str(entry.stream) for entry in config.ingest]
        self._topics = [messages.topic(stream) for stream in self._streams]
        self._next = [number + 1 for number in published]
        self._waiting: list[dict[int, wire.Work]] = [{} for _ in published]
        self._linger_s = config.sink.linger_s
        self._encoder = msgspec.json.Encoder()
        self._stopping = False
        self._under_way = under_way
        self._gone: dict[bytes, float] = {}
        self._echo = Echo(folder / f"echo-{link.worker}") if folder is not None else None
        self.file = ResultsFile(Path(config.sink.results), fresh=False)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._xpub = context.socket(zmq.XPUB)
        self._xpub.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._xpub.set_hwm(MOST_WAITING)
        self._history = context.socket(zmq.ROUTER)
        self._history.setsockopt(zmq.SNDHWM, MOST_REPLIES)
        self._history.setsockopt(zmq.MAXMSGSIZE, history.MAX_REQUEST_BYTES)
        self._audience = history.Audience(behind)
        try:
            self.publish, self.history = bind_pair(self._xpub, self._history, *endpoints)
        except ZpipeError:
            self.close()
            raise
        heart.subscribers(0, self._missing())
        self._poller = zmq.Poller()
        for socket in (link.inlet, self._xpub, self._history):
            self._poller.register(socket, zmq.POLLIN)

    def run(self) -> None:
        """Work until told to stop, then until those who still catch up have caught up."""
        while not self._stopping:
            self.turn(BEAT_MS)
        deadline = time.monotonic() + self._linger_s
        while (missing := self._missing()) and (left_s := deadline - time.monotonic()) > 0:
            self.turn(min(LINGER_MS, int(left_s * 1000) + 1))
        if missing:
            log.warning("sink.left subscribers=%d linger_s=%g", missing, self._linger_s)

    def await_subscribers(self, count: int, timeout_s: float | None) -> None:
        """Turn until `count` subscribers are there (None: however long it takes)."""
        deadline = time.monotonic() + (timeout_s if timeout_s is not None else float("inf"))
        while self._audience.subscribers < count and time.monotonic() < deadline and not self._stopping:
            self.turn(50)

    def await_return(self, plain: int) -> None:
        """Turn until so many plain subscribers are there, but not for ever; zpipe's fill in what they miss."""
        deadline, seen = time.monotonic() + REJOIN_S, 0
        # Seen twice: of zpipe's own, the subscription to results may be heard before the one that tells it.
        while seen < 2 and plain and time.monotonic() < deadline and not self._stopping:
            self.turn(50 if self._audience.plain < plain else 10)
            seen = seen + 1 if self._audience.plain >= plain else 0

    def turn(self, timeout_ms: int) -> None:
        """Wait for something to do and do it: results first, one history request after each burst of them."""
        ready = dict(self._poller.poll(timeout_ms))
        self._heart.beat()
        if self._link.inlet in ready:
            self._take_results()
        if self._xpub in ready:
            self._meet_subscribers()
        if self._history in ready:
            self._answer()

    def close(self) -> None:
        """Close sockets and file. What was published leaves first, as far as subscribers take it."""
        if self._echo is not None:
            self._echo.close()
        self._xpub.close(linger=2000)
        self._history.close(linger=2000)
        self.file.close()

    # ---- results ------------------------------------------------------------------------------------------

    def _take_results(self) -> None:
        """Take what the broker has sent; publish what is in order now; acknowledge all of it at once."""
        touched: dict[int, None] = {}
        ends: list[wire.Close] = []
        for message in self._link.take():
            if isinstance(message, wire.Work):
                self._waiting[message.stream][message.seq] = message
                touched[message.stream] = None
            elif isinstance(message, wire.Close):
                ends.append(message)
            elif isinstance(message, wire.Stop):
                self._stopping = True
        said: list[wire.FromWorker] = [done for stream in touched if (done := self._publish_ready(stream))]
        said += [self._end(end) for end in ends]
        if said:
            self._link.send(*said)

    def _publish_ready(self, stream: int) -> wire.Published | None:
        """Publish what is in order now; how far that is."""
        waiting, first = self._waiting[stream], self._next[stream]
        seq = first
        while (work := waiting.pop(seq, None)) is not None:
            self._heart.busy(stream, seq)
            line = self._logged(stream, seq)
            if line is None or self._is_doubtful(stream, seq):
                self._publish(stream, line or self._log(work))
            seq += 1
            self._heart.idle()
        self._next[stream] = seq
        return wire.Published(self._link.worker, stream, seq - 1) if seq > first else None

    def _log(self, work: wire.Work) -> bytes:
        """The frame's result as a line, written to the file."""
        stream = self._streams[work.stream]
        try:
            result = messages.unpack(work.body)
        except msgspec.DecodeError as error:  # one result per frame, whatever a worker made of it
            result = messages.Result(stream=stream, seq=work.seq, name="", timestamp=time.time_ns())
            messages.fail(result, "sink", f"not a result: {error}")
        result.run, result.seq, result.stream, result.attempts = self._run, work.seq, stream, work.attempts
        result.timing_ms["total"] = round((time.time_ns() - result.timestamp) / 1e6, 3)
        line = self._encoder.encode(result)
        self.file.append(stream, work.seq, line, result.status)
        return line

    def _logged(self, stream: int, seq: int) -> bytes | None:
        """The line of a result that was logged before a crash and may not have been published."""
        account = self.file.streams.get(self._streams[stream])
        if account is None or seq > account.seq:
            return None
        return self.file.lines(self._streams[stream], seq, most=1)[0]

    def _is_doubtful(self, stream: int, seq: int) -> bool:
        """Whether a result that a sink before this one has logged may not have been published."""
        return self._under_way is None or (stream, seq) in self._under_way

    def _end(self, close: wire.Close) -> wire.Closed:
        name = self._streams[close.stream]
        account, seq = self.file.stream(name), close.count + 1
        self._heart.busy(close.stream, seq)
        if not account.closed:
            eos = messages.Eos(
                run=self._run, stream=name, seq=seq, ok=account.ok, failed=account.failed, dropped=0,
                drained=close.drained,
            )  # fmt: skip
            line = self._encoder.encode(eos)
            self.file.append(name, seq, line, None)
            self._publish(close.stream, line)
        elif self._is_doubtful(close.stream, seq):
            self._publish(close.stream, self.file.lines(name, seq, most=1)[0])
        self._heart.beat()
        return wire.Closed(self._link.worker, close.stream)

    def _publish(self, stream: int, line: bytes) -> None:
        """Returns when the result is on its way to those who could not ask for it again."""
        self._xpub.send(self._topics[stream], zmq.SNDMORE)
        self._xpub.send(line)
        if self._echo is not None and self._audience.plain:
            self._echo.wait()

    # ---- subscribers --------------------------------------------------------------------------------------

    def _meet_subscribers(self) -> None:
        while int(self._xpub.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._audience.heard(self._xpub.recv())
        self._heart.subscribers(self._audience.plain, self._missing())

    def _missing(self) -> int:
        """How many zpipe subscribers have not everything: those here, and those that may be on their way back."""
        now, gone = time.monotonic(), self._audience.gone
        self._gone = {name: self._gone.get(name, now) for name in gone}
        gone -= {name for name, since in self._gone.items() if now - since > REJOIN_S}
        return len(self._audience.behind) + len(gone)

    def _answer(self) -> None:
        """Answer one request; a request that is none is dropped."""
        parts = self._history.recv_multipart()
        reply = history.answer(parts[-1], self._run, self._streams, self.file, self._audience)
        if reply is not None:
            self._history.send_multipart([*parts[:-1], reply], zmq.NOBLOCK)
