"""The sink: puts each stream in order, logs it, publishes it, and serves what was published to who missed it.

In this order for each result: log, publish, acknowledge. So a result that was acknowledged is in the file and was
published; one that was not comes again after a crash, is found in the file, and is published once more but not logged
again. A subscriber may see the number that was under way twice, never a gap.

Two sockets: an XPUB (on the wire a PUB; it also tells who subscribes) for live results, and a ROUTER, the history,
that answers from the results file: request `[stream, first]` and reply `[run, streams, lines]` as MessagePack.
"""

import logging
import time
from pathlib import Path

import msgspec
import zmq

from zpipe import history, messages, wire
from zpipe.board import Heart
from zpipe.config import Config
from zpipe.endpoints import bind_pair
from zpipe.link import BEAT_MS, WorkerLink
from zpipe.results_file import ResultsFile

REJOIN_S = 3.0
"""How long a restarted sink waits for the subscribers that its predecessor had: libzmq reconnects every 100 ms."""

MOST_WAITING = 10_000
"""High-water mark of the publisher: results that wait for one slow subscriber before it misses some (and fetches
them from the history). 10,000 results of 5 objects are about 10 MB."""

log = logging.getLogger(__name__)


class Sink:
    """The sink's work. `published[stream]` is what the broker knows to be published; `endpoints` to publish on."""

    def __init__(
        self,
        config: Config,
        link: WorkerLink,
        heart: Heart,
        run: str,
        published: list[int],
        endpoints: tuple[str, str | None],
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
        self.file = ResultsFile(Path(config.sink.results), fresh=False)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._xpub = context.socket(zmq.XPUB)
        self._xpub.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._xpub.set_hwm(MOST_WAITING)
        self._history = context.socket(zmq.ROUTER)
        self._history.setsockopt(zmq.MAXMSGSIZE, history.MAX_REQUEST_BYTES)
        self._audience = history.Audience()
        self.publish, self.history = bind_pair(self._xpub, self._history, *endpoints)
        self._poller = zmq.Poller()
        for socket in (link.inlet, self._xpub, self._history):
            self._poller.register(socket, zmq.POLLIN)

    def run(self) -> None:
        """Work until told to stop, then until those who still catch up have caught up."""
        while not self._stopping:
            self.turn(BEAT_MS)
        deadline = time.monotonic() + self._linger_s
        while self._audience.behind and (left_s := deadline - time.monotonic()) > 0:
            self.turn(min(BEAT_MS, int(left_s * 1000) + 1))
        if self._audience.behind:
            log.warning("sink.left subscribers=%d linger_s=%g", len(self._audience.behind), self._linger_s)

    def await_subscribers(self, count: int, timeout_s: float | None) -> None:
        """Turn until `count` subscribers are there (None: however long it takes)."""
        deadline = time.monotonic() + (timeout_s if timeout_s is not None else float("inf"))
        while self._audience.subscribers < count and time.monotonic() < deadline and not self._stopping:
            self.turn(50)

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
            self._publish(stream, seq, self._logged(stream, seq) or self._log(work))
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

    def _end(self, close: wire.Close) -> wire.Closed:
        name = self._streams[close.stream]
        account = self.file.stream(name)
        if account.closed:
            line = self.file.lines(name, account.seq + 1, most=1)[0]
        else:
            eos = messages.Eos(
                run=self._run, stream=name, seq=close.count + 1, ok=account.ok, failed=account.failed, dropped=0,
                drained=close.drained,
            )  # fmt: skip
            line = self._encoder.encode(eos)
            self.file.append(name, eos.seq, line, None)
        self._publish(close.stream, close.count + 1, line)
        return wire.Closed(self._link.worker, close.stream)

    def _publish(self, stream: int, seq: int, line: bytes) -> None:
        self._xpub.send(self._topics[stream], zmq.SNDMORE)
        self._xpub.send(line)

    # ---- subscribers --------------------------------------------------------------------------------------

    def _meet_subscribers(self) -> None:
        while int(self._xpub.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._audience.heard(self._xpub.recv())
        self._heart.subscribers(self._audience.subscribers)

    def _answer(self) -> None:
        """Answer one request; a request that is none is dropped."""
        parts = self._history.recv_multipart()
        reply = history.answer(parts[-1], self._run, self._streams, self.file, self._audience)
        if reply is not None:
            self._history.send_multipart([*parts[:-1], reply], zmq.NOBLOCK)
