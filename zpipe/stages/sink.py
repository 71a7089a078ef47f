"""The sink: puts each stream in order, logs it, publishes it, and lets subscribers catch up at the end.

In this order for each result: log, publish, acknowledge. So a result that was acknowledged is in the file and was
published; one that was not comes again after a crash and is found in the file. It is not logged again, and published
again only if it was the one under way (the board knows; the broker hands it on). Published means that ZeroMQ's thread
has given it to the kernel, which a plain subscriber makes us wait for: so it sees one number twice at most, and no gap.
"""

import logging
import time
from functools import partial
from pathlib import Path

import msgspec
import zmq

from zpipe import messages, wire
from zpipe.config.keys import Config
from zpipe.errors import ResultsError, ZpipeError
from zpipe.orders import SinkTask
from zpipe.results.file import ResultsFile
from zpipe.results.publisher import REJOIN_S, Publisher
from zpipe.results.record import Record
from zpipe.transport.board import Heart
from zpipe.transport.curve import Door, bind_for
from zpipe.transport.endpoints import bind_pair
from zpipe.transport.keys import Keys
from zpipe.transport.link import BEAT_MS, WorkerLink
from zpipe.transport.visitors import receive_at

LINGER_MS = 100

CHECK_S = 1.0
"""So often somebody may have removed the results file, or exchanged it, without being noticed. That it was cut shows
with the next line."""
PORT_MS, SAY_TAKEN_S = 50, 5.0
"""While somebody has the port of the sink before us, we look so often, and say so so often."""

ROLE = "subscribe"
"""What a key must be for, where there are keys."""

Endpoints = tuple[str, str | None]
"""Where to publish, and where to serve the history (None: beside it)."""

log = logging.getLogger(__name__)


class Sink:
    """The sink's work, as its task says. `echo`: where a socket of its own may be."""

    def __init__(
        self, config: Config, link: WorkerLink, heart: Heart, task: SinkTask, echo: Path | None = None
    ) -> None:
        self._link = link
        self._heart = heart
        self._task = task
        self._names: dict[int, str] = {}
        self._topics: dict[int, bytes] = {}
        self._next: dict[int, int] = {}
        self._waiting: dict[int, dict[int, wire.Work]] = {}
        self._ended: dict[str, None] = {}
        for stream in task.streams:
            self._meet(stream.stream, stream.name, stream.published)
        self._linger_s = config.sink.linger_s
        self._encoder = msgspec.json.Encoder()
        self._stopping = False
        self._said_taken = 0.0
        self._door: Door | None = None
        self._keys: Keys | None = None
        self._record = Record(Path(config.sink.results))
        self.file = ResultsFile.nothing_yet(Path(config.sink.results))
        self._next_check = 0.0
        self._open_file()
        # A restarted sink takes its predecessor's endpoints, whatever free ports those were.
        endpoints = task.endpoints or (config.sink.publish, config.sink.history)
        try:
            bind = partial(bind_pair, wait=self._wait_for_port if task.endpoints and task.is_patient else None)
            behind = task.audience.behind if task.audience else 0
            if config.keys is None:
                self.out = Publisher(bind, endpoints, behind, echo)
            else:
                self._keys = Keys(config.keys)
                self.out = self._publish_for_keys(self._keys, bind, endpoints, behind, echo)
        except ZpipeError:
            self.file.close()
            raise
        heart.show_audience(0, self.out.missing())
        self._poller = zmq.Poller()
        for socket in (link.inlet, self.out.live, self.out.requests, *self.out.monitors):
            self._poller.register(socket, zmq.POLLIN)

    def _publish_for_keys(
        self, keys: Keys, bind: "partial[tuple[str, str]]", endpoints: Endpoints, behind: int, echo: Path | None
    ) -> Publisher:
        """The publisher behind a door: who wants in needs a key, who loses it is sent off."""
        self._pairs = keys.pairs
        self._door = Door(zmq.Context.instance(), keys)
        bind = partial(bind, bind=bind_for(keys))
        try:
            out = Publisher(bind, endpoints, behind, echo, partial(receive_at, keys, ROLE))
        except ZpipeError:
            self._door.close()
            raise
        self._door.on_change = out.drop_unwelcome
        return out

    def run(self) -> None:
        """Work until told to stop, then until those who still catch up have caught up."""
        while not self._stopping:
            self.turn(BEAT_MS)
        deadline = time.monotonic() + self._linger_s
        while (missing := self.out.missing()) and (left_s := deadline - time.monotonic()) > 0:
            self.turn(min(LINGER_MS, int(left_s * 1000) + 1))
        if missing:
            log.warning("sink.left subscribers=%d linger_s=%g", missing, self._linger_s)

    def await_subscribers(self, count: int) -> None:
        """Turn until `count` subscribers are there, however long it takes."""
        while self.out.subscribers < count and not self._stopping:
            self.turn(50)

    def await_return(self, plain: int) -> None:
        """Turn until so many plain subscribers are there, but not for ever; zpipe's fill in what they miss."""
        deadline, seen = time.monotonic() + REJOIN_S, 0
        # Seen twice: of zpipe's own, the subscription to results may be heard before the one that tells it.
        while seen < 2 and plain and time.monotonic() < deadline and not self._stopping:
            self.turn(50 if self.out.plain < plain else 10)
            seen = seen + 1 if self.out.plain >= plain else 0

    def turn(self, timeout_ms: int) -> None:
        """Wait for something to do and do it: results first, one history request after each burst of them."""
        ready = dict(self._poller.poll(timeout_ms))
        self._heart.beat()
        if (now := time.monotonic()) >= self._next_check:
            self._next_check = now + CHECK_S
            self._open_file()
            if self.file.is_open:
                self.file.check()
        if self._keys is not None and self._keys.pairs is not self._pairs:
            self._pairs = self._keys.pairs
            self.out.bind_again()
        if self._link.inlet in ready:
            self._take_results()
        if self.out.live in ready:
            self.out.meet_subscribers()
            self._heart.show_audience(self.out.plain, self.out.missing())
        if any(monitor in ready for monitor in self.out.monitors):
            self.out.meet_connections()
        if self.out.requests in ready:
            streams = [*self._ended, *self._names.values()]
            self.out.answer(self._task.run, streams, self.file, self._task.listens and not self._stopping)

    def close(self) -> None:
        """Close sockets and file. What was published leaves first, as far as subscribers take it."""
        if self._door is not None:
            self._door.close()
        self.out.close()
        self.file.close()

    # ---- streams ------------------------------------------------------------------------------------------

    def _meet(self, number: int, name: str, published: int = 0) -> None:
        """A stream that results may come of from now on."""
        if number not in self._names:
            self._names[number], self._topics[number] = name, messages.topic(name)
            self._next[number], self._waiting[number] = published + 1, {}

    def _forget(self, number: int) -> None:
        """A stream's end is published: nothing comes of it any more."""
        self._ended[self._names.pop(number)] = None
        del self._topics[number], self._next[number], self._waiting[number]

    # ---- the results file ---------------------------------------------------------------------------------

    def _open_file(self) -> None:
        """Open the results file once the run has begun: before, it is still that of the run before this one."""
        if self.file.is_open or not self._record.is_of(self._task.run):
            return
        self.file = ResultsFile(self.file.path, fresh=False)
        for stream in self._task.streams:
            if (has := self.file.stream(stream.name).seq) < stream.published:
                raise ResultsError(
                    f"results file {self.file.path} has {has} results of stream {stream.name}, and {stream.published} "
                    "were published: continue with --resume, which makes it whole"
                )
        going_on = set(self._names.values())
        self._ended |= dict.fromkeys(self.file.streams.keys() - going_on)

    def _need_file(self) -> None:
        """Have the file open: something is to be written."""
        self._open_file()
        if not self.file.is_open:
            raise ResultsError(f"the run's record {self._record.folder} is gone: start anew with --overwrite")

    def _wait_for_port(self, endpoint: str) -> bool:
        """Subscribers look for us at this very endpoint: wait until it is free, or the run is stopped."""
        self._heart.beat()
        now = time.monotonic()
        if now - self._said_taken >= SAY_TAKEN_S:
            self._said_taken = now
            log.warning("sink.waiting %s is taken by another program: waiting until it is free", endpoint)
        if self._link.inlet.poll(PORT_MS):  # nobody is sent work before he is ready
            self._stopping = any(isinstance(message, wire.Stop) for message in self._link.take())
        return not self._stopping

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
            elif isinstance(message, wire.Begin):
                self._meet(message.stream, message.name)
            elif isinstance(message, wire.Stop):
                self._stopping = True
        if (touched or ends) and not self.file.is_open:
            self._need_file()
        said: list[wire.FromWorker] = [done for stream in touched if (done := self._publish_ready(stream))]
        said += [self._end(end) for end in ends]
        if said:
            self._link.send(*said)

    def _publish_ready(self, stream: int) -> wire.PublishedUpTo | None:
        """Publish what is in order now; how far that is."""
        waiting, first = self._waiting[stream], self._next[stream]
        seq = first
        while (work := waiting.pop(seq, None)) is not None:
            self._heart.begin(stream, seq)
            line = self._logged(stream, seq)
            if line is None or self._is_doubtful(stream, seq):
                self.out.publish(self._topics[stream], line or self._log(work))
            seq += 1
            self._heart.finish()
        self._next[stream] = seq
        return wire.PublishedUpTo(self._link.worker, stream, seq - 1) if seq > first else None

    def _log(self, work: wire.Work) -> bytes:
        """The frame's result as a line, written to the file."""
        stream = self._names[work.stream]
        try:
            result = messages.unpack(work.body)
        except msgspec.DecodeError as error:  # one result per frame, whatever a worker made of it
            result = messages.Result(stream=stream, seq=work.seq, name="", timestamp=time.time_ns())
            messages.fail(result, "sink", f"not a result: {error}")
        result.run, result.seq, result.stream, result.attempts = self._task.run, work.seq, stream, work.attempts
        result.timing_ms["total"] = round((time.time_ns() - result.timestamp) / 1e6, 3)
        line = self._encoder.encode(result)
        self.file.append(stream, work.seq, line, result.status)
        return line

    def _logged(self, stream: int, seq: int) -> bytes | None:
        """The line of a result that was logged before a crash and may not have been published."""
        account = self.file.streams.get(self._names[stream])
        if account is None or seq > account.seq:
            return None
        return self.file.lines(self._names[stream], seq, most=1)[0]

    def _is_doubtful(self, stream: int, seq: int) -> bool:
        """Whether a result that a sink before this one has logged may not have been published."""
        return self._task.under_way is None or (stream, seq) in self._task.under_way

    def _end(self, close: wire.Close) -> wire.Closed:
        name = self._names[close.stream]
        account, seq = self.file.stream(name), close.count + 1
        self._heart.begin(close.stream, seq)
        self.file.check()
        if not account.closed:
            eos = messages.Eos(
                run=self._task.run, stream=name, seq=seq, ok=account.ok, failed=account.failed, dropped=0,
                drained=close.drained,
            )  # fmt: skip
            line = self._encoder.encode(eos)
            self.file.append(name, seq, line, None)
            self.out.publish(self._topics[close.stream], line)
        elif self._is_doubtful(close.stream, seq):
            self.out.publish(self._topics[close.stream], self.file.lines(name, seq, most=1)[0])
        self._forget(close.stream)
        self._heart.beat()
        return wire.Closed(self._link.worker, close.stream)
