"""What a program uses: `subscribe` to results, `up` to run a pipeline."""

import contextlib
import subprocess
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import zmq

from zpipe import history, messages
from zpipe.endpoints import history_of
from zpipe.errors import NotRunning, RunFailed, ZpipeError
from zpipe.messages import Eos, Published, Result
from zpipe.processes import ZPIPE

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
            self._history.send(history.ask(request), zmq.NOBLOCK)


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


class Run:
    """A pipeline that was started by `up`. `started` says where it publishes, `ended` how it ended."""

    def __init__(self, command: list[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed by wait
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._said, stdin=subprocess.DEVNULL)
        self.started: dict[str, Any] = {}
        self.ended: dict[str, Any] = {}
        self._bound = threading.Event()
        # Read at once: a pipe that nobody reads would stop the pipeline when it is full.
        self._reader = threading.Thread(target=self._read_events, daemon=True)
        self._reader.start()
        self._bound.wait()
        if not self.started:
            self.wait()

    @property
    def endpoint(self) -> str:
        """Where results are published."""
        return str(self.started["publish"])

    @property
    def pid(self) -> int:
        """The process of `zpipe up`."""
        return self._process.pid

    def results(self, stream: str | None = None) -> Iterator[Result]:
        """All results from the first on, as they are published."""
        return subscribe(self.endpoint, stream, from_start=True)

    def stop(self) -> None:
        """Finish what is in flight, then end."""
        self._process.terminate()

    def wait(self) -> dict[str, Any]:
        """Wait for the end; the ledger. RunFailed with what was said if the run failed."""
        exit_code = self._process.wait()
        self._reader.join()
        if self._said.closed:
            return self.ended
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")
        self._said.close()
        if exit_code:
            raise RunFailed(said.strip() or f"zpipe up ended with exit code {exit_code}", exit_code)
        return self.ended

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the end; if the block failed, stop at once."""
        if kind is None:
            self.wait()
            return
        for _ in range(2):
            self._process.terminate()
            time.sleep(0.05)  # two signals at the same moment are one
        with contextlib.suppress(RunFailed):
            self.wait()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                event = msgspec.json.decode(line)
                if event.get("event") == "started":
                    self.started = event
                    self._bound.set()
                elif event.get("event") == "ended":
                    self.ended = event
        self._bound.set()


def up(
    config: str | Path,
    *,
    set: dict[str, object] | None = None,  # noqa: A002
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Start a pipeline; returns when its workers are starting and its endpoints are bound. A context manager.

    `set` changes keys of the config, as `--set` does: `{"detect.confidence": 0.5}`.
    """
    command = [*ZPIPE, "up", str(config), "--json"]
    for key, value in (set or {}).items():
        command += ["--set", f"{key}={msgspec.json.encode(value).decode()}"]
    command += ["--resume"] * resume + ["--overwrite"] * overwrite
    return Run(command)
