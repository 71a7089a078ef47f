"""What a program uses: `subscribe` to results, `up` to run a pipeline."""

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Iterator

import msgspec
import zmq

from zpipe import messages
from zpipe.errors import NotRunning, ZpipeError
from zpipe.messages import Eos, Published, Result
from zpipe.rules import history
from zpipe.transport.endpoints import history_of

QUIET_MS = 500
"""After so long without a message the history is asked whether something was missed at the end."""

FIRST_REPLY_MS, LAST_REPLY_MS = 250, 4000
"""How long a reply is waited for: little at first, since a restarted sink never got the question, then longer and
longer, since the network may be slow."""

MOST_QUESTIONS = 16
"""High-water mark of the history's socket: so many questions wait for a sink that is away, and no more."""


class Subscription:
    """An iterator over the results of one stream or of all, each exactly once and in order within its stream.

    Live results come from the publisher. What it did not deliver (we joined late, read too slowly, it was restarted,
    the network paused) shows as a gap in the numbers and is fetched from the sink's history. At most one burst of
    the history and ZeroMQ's high-water mark of live messages are in memory.

    `endpoint`: where the sink publishes. `stream`: only this one. `first`: the number to begin with (1: from the
    start; None: with what comes next). `timeout_s`: raise NotRunning when nothing came for so long (None: wait).
    Ends after the end of every stream. Yields `Result`s; with `ends` also each stream's `Eos`.
    """

    def __init__(
        self,
        endpoint: str,
        stream: str | None = None,
        first: int | None = None,
        timeout_s: float | None = None,
        ends: bool = False,
        history_endpoint: str | None = None,
    ) -> None:
        self._id = uuid.uuid4().hex
        self._stream = stream
        self._first = first
        self._timeout_s = timeout_s
        self._ends = ends
        self._endpoint = endpoint
        self._run = ""
        self._patience_ms = FIRST_REPLY_MS
        self._next: dict[str, int] = {}
        self._open: set[str] | None = None
        self._ready: deque[tuple[bytes, Published]] = deque()
        self._done = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._live = self._context.socket(zmq.SUB)
        self._live.subscribe(messages.topic(stream or ""))
        self._live.subscribe(history.SUBSCRIBER + self._id.encode())
        self._history = self._context.socket(zmq.DEALER)
        self._history.set_hwm(MOST_QUESTIONS)
        for socket in (self._live, self._history):
            socket.linger = 500
        try:
            self._live.connect(endpoint)
            self._history.connect(history_endpoint or history_of(endpoint))
        except zmq.ZMQError as error:
            self.close()
            raise ZpipeError(f"cannot connect to {endpoint!r}: {error.strerror}") from None
        self._behind = False

    def __iter__(self) -> Iterator[Published]:
        return self

    def __next__(self) -> Published:
        return self.next_line()[1]

    def next_line(self) -> tuple[bytes, Published]:
        """The next message as it was published, and as a typed value."""
        heard = time.monotonic()
        while True:
            while self._ready:
                line, message = self._ready.popleft()
                if isinstance(message, Result) or self._ends:
                    return line, message
            if self._done:
                self.close()
                raise StopIteration
            if self._hear():
                heard = time.monotonic()
            elif self._timeout_s is not None and time.monotonic() - heard > self._timeout_s:
                self.close()
                raise NotRunning(f"nothing was published on {self._endpoint} for {self._timeout_s:g} s")

    def close(self) -> None:
        """Leave; closing twice is harmless."""
        if not self._context.closed:
            if not self._done:  # a farewell: the sink need not wait for us to come back
                self._tell(history.Request(self._id, done=True))
            self._live.close()
            self._history.close()
            self._context.term()

    def __del__(self) -> None:
        """Who breaks out of a loop over results leaves too."""
        if hasattr(self, "_history"):
            self.close()

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- inside -------------------------------------------------------------------------------------------

    def _hear(self) -> bool:
        """Take one live message, or ask the history if there is none; whether anything came."""
        if self._open is not None and self._live.poll(0 if self._behind else QUIET_MS):
            parts = self._live.recv_multipart()
            with contextlib.suppress(msgspec.DecodeError):
                if len(parts) == 2:
                    self._take(parts[1], messages.parse(parts[1]))
                    return True
            return False
        before = len(self._ready)
        self._catch_up()
        return len(self._ready) > before

    def _catch_up(self) -> None:
        """Ask the history how far the streams are, and for what we miss of them."""
        reply = self._ask(None, 1)
        if reply is None:
            return
        self._meet(reply)
        self._behind = False
        for state in reply.streams:
            if not self._open or state.stream not in self._open:
                continue
            if state.closed:  # a number beyond the end never comes; the end does
                self._next[state.stream] = min(self._next[state.stream], state.published + 1)
            begin = self._next[state.stream]
            if begin <= state.published + state.closed:
                self._fetch(state.stream)
                # Only what is getting better is asked for again at once.
                self._behind |= begin < self._next[state.stream] <= state.published

    def _meet(self, reply: history.Reply) -> None:
        """Learn which streams there are; another run begins anew."""
        if reply.run == self._run:
            return
        first = 1 if self._first is None and self._run else self._first
        self._run = reply.run
        self._next = {}
        self._open = {state.stream for state in reply.streams if self._stream in (None, state.stream)}
        if not self._open:
            self.close()
            raise ZpipeError(
                f"{self._endpoint} has no stream {self._stream!r}: {', '.join(s.stream for s in reply.streams)}"
            )
        for state in reply.streams:
            # "What comes next" of a stream that is closed already is its end, of a run that we saw begin all of it.
            self._next[state.stream] = state.published + 1 if first is None else max(1, first)

    def _fetch(self, stream: str) -> None:
        """Fetch one burst of a stream from the history."""
        reply = self._ask(stream, self._next[stream])
        if reply is not None and reply.run == self._run:
            for line in reply.lines:
                with contextlib.suppress(msgspec.DecodeError):
                    self._accept(line, messages.parse(line))

    def _take(self, line: bytes, message: Published) -> None:
        """A live message: next in order, a repeat, of another run, or after a gap that the history fills."""
        if message.run != self._run:
            self._catch_up()
        elif self._open is not None and message.stream in self._open:
            if isinstance(message, Eos):
                self._next[message.stream] = min(self._next[message.stream], message.seq)
            if message.seq > self._next[message.stream]:
                self._fetch(message.stream)
        self._accept(line, message)

    def _accept(self, line: bytes, message: Published) -> None:
        """Take a message if it is the next of its stream. What comes too early is fetched when its turn has come."""
        stream = message.stream
        if (
            message.run != self._run
            or self._open is None
            or stream not in self._open
            or message.seq != self._next[stream]
        ):
            return
        self._next[stream] += 1
        self._ready.append((line, message))
        if isinstance(message, Eos):
            self._open.discard(stream)
            if not self._open:
                self._done = True
                self._tell(history.Request(self._id, done=True))

    def _ask(self, stream: str | None, first: int) -> history.Reply | None:
        """One question to the history; None if it does not answer (the sink is being restarted, or not there yet)."""
        while self._history.poll(0):  # replies to questions that were given up
            self._history.recv()
        self._tell(history.Request(self._id, stream, first))
        if not self._history.poll(self._patience_ms):
            self._patience_ms = min(2 * self._patience_ms, LAST_REPLY_MS)
            return None
        self._patience_ms = FIRST_REPLY_MS
        with contextlib.suppress(msgspec.DecodeError):
            return history.read_reply(self._history.recv())
        return None

    def _tell(self, request: history.Request) -> None:
        """Send a request; if too many wait already, the sink has been away for long, and those will do."""
        with contextlib.suppress(zmq.Again):
            self._history.send(history.write_request(request), zmq.NOBLOCK)


def subscribe(
    endpoint: str,
    stream: str | None = None,
    *,
    from_start: bool = False,
    first: int | None = None,
    timeout_s: float | None = None,
) -> Iterator[Result]:
    """Results as they are published, each once and in order, until every stream has ended.

    `from_start` begins with frame 1 of each stream however late we come, `first` with another number.
    """
    return Subscription(endpoint, stream, 1 if from_start else first, timeout_s)  # type: ignore[return-value]  # without `ends` it yields results only
