"""A subscription to results: owns its two sockets and its patience. What is missing, rules/catch_up.py knows."""

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import zmq

from zpipe import messages
from zpipe.errors import KeysError, NotRunning, ZpipeError
from zpipe.messages import Published, Result
from zpipe.rules import history
from zpipe.rules.catch_up import HOW_FAR, CatchUp, Wanted
from zpipe.transport.curve import Handshakes, is_secured, secure_client
from zpipe.transport.endpoints import history_of

QUIET_MS = 500
"""After so long without a message the history is asked whether something was missed at the end."""

FIRST_REPLY_MS, LAST_REPLY_MS = 250, 4000
"""How long a reply is waited for: little at first, since a restarted sink never got the question, then longer and
longer, since the network may be slow."""

SILENT_S = 0.7
"""After so long without an answer nobody seems to be there; said after a second, since questions are waited for."""

TURNED_AWAY = 3
"""So many handshakes, ended without a word one after the other, are no accident."""

MOST_QUESTIONS = 16
"""High-water mark of the history's socket: so many questions wait for a sink that is away, and no more."""


class Subscription:
    """An iterator over the results of one stream or of all, each exactly once and in order within its stream.

    Live results come from the publisher. What it did not deliver (we joined late, read too slowly, it was restarted,
    the network paused) shows as a gap in the numbers and is fetched from the sink's history. At most one burst of
    the history and ZeroMQ's high-water mark of live messages are in memory.

    `endpoint`: where the sink publishes. `stream`: only this one. `first`: the number to begin with (1: from the
    start; None: with what comes next). `timeout_s`: raise NotRunning when nothing came for so long (None: wait).
    `is_there`: asked when nothing comes, whether it still may; NotRunning if not. `on_silence`: called when nobody has
    answered for a second, with whether somebody did before; again only after an answer. `key`: our key file, where the
    pipeline has keys; KeysError if it does not open this.
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
        is_there: Callable[[], bool] = lambda: True,
        on_silence: Callable[[bool], None] = lambda was_there: None,
        key: Path | str | None = None,
    ) -> None:
        self._id = uuid.uuid4().hex
        self._timeout_s = timeout_s
        self._ends = ends
        self._endpoint = endpoint
        self._is_there = is_there
        self._on_silence = on_silence
        self._answered = time.monotonic()
        self._is_silent = False
        self._patience_ms = FIRST_REPLY_MS
        self.catch_up = CatchUp(stream, first)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._live = self._context.socket(zmq.SUB)
        self._live.subscribe(messages.topic(stream or ""))
        self._live.subscribe(history.SUBSCRIBER + self._id.encode())
        self._history = self._context.socket(zmq.DEALER)
        self._history.set_hwm(MOST_QUESTIONS)
        for socket in (self._live, self._history):
            socket.linger = 500
        self._handshakes = Handshakes(endpoint, key, self._live, self._history)
        try:
            if key is not None:
                self._show_key(key, endpoint)
            self._live.connect(endpoint)
            self._history.connect(history_endpoint or history_of(endpoint))
        except zmq.ZMQError as error:
            self.close()
            raise ZpipeError(f"cannot connect to {endpoint!r}: {error.strerror}") from None
        except KeysError:
            self.close()
            raise

    def __iter__(self) -> Iterator[Published]:
        return self

    def __next__(self) -> Published:
        return self.next_line()[1]

    def next_line(self) -> tuple[bytes, Published]:
        """The next message as it was published, and as a typed value."""
        heard = time.monotonic()
        while True:
            while self.catch_up.ready:
                line, message = self.catch_up.ready.popleft()
                if isinstance(message, Result) or self._ends:
                    return line, message
            if self.catch_up.is_done:
                self.close()
                raise StopIteration
            if self._hear():
                heard = time.monotonic()
                if self.catch_up.is_done:  # the sink need not wait until all of it is read here
                    self._tell(history.LinesRequest(self._id, done=True))
                continue
            self._check_handshakes()
            self._notice_silence()
            if not self._is_there():
                self.close()
                raise NotRunning(f"the pipeline that published on {self._endpoint} has ended")
            if self._timeout_s is not None and time.monotonic() - heard > self._timeout_s:
                self.close()
                raise NotRunning(f"nothing was published on {self._endpoint} for {self._timeout_s:g} s")

    @property
    def is_turned_away(self) -> bool:
        """Whether who is there ends every connection at its handshake: it knows another server's key than we."""
        return self._handshakes.broken_off >= TURNED_AWAY

    def close(self) -> None:
        """Leave; closing twice is harmless."""
        if not self._context.closed:
            if not self.catch_up.is_done:  # a farewell: the sink need not wait for us to come back
                self._tell(history.LinesRequest(self._id, done=True))
            self._handshakes.close()
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
        if self.catch_up.open is None or not self._live.poll(0 if self.catch_up.is_behind else QUIET_MS):
            before = len(self.catch_up.ready)
            self._fetch([HOW_FAR])
            return len(self.catch_up.ready) > before
        parts = self._live.recv_multipart()
        self._note_answer()
        with contextlib.suppress(msgspec.DecodeError):
            if len(parts) == 2:
                self._fetch(self.catch_up.hear(parts[1], messages.parse(parts[1])))
                return True
        return False

    def _fetch(self, questions: list[Wanted]) -> None:
        """Ask the history these questions, and what follows from its replies. One burst of each stream at most."""
        waiting = deque(questions)
        while waiting:
            wanted = waiting.popleft()
            reply = self._ask(wanted)
            if reply is not None and wanted.stream is None:
                waiting.extend(self._learn(reply))
            elif reply is not None:
                self.catch_up.fill(wanted, reply)

    def _learn(self, reply: history.Reply) -> list[Wanted]:
        try:
            return self.catch_up.learn(reply)
        except ZpipeError as error:
            self.close()
            raise ZpipeError(f"{self._endpoint} {error}") from None

    def _ask(self, wanted: Wanted) -> history.Reply | None:
        """One question to the history; None if it does not answer (the sink is being restarted, or not there yet)."""
        while self._history.poll(0):  # replies to questions that were given up
            self._history.recv()
        self._tell(history.LinesRequest(self._id, *wanted))
        if not self._history.poll(self._patience_ms):
            self._patience_ms = min(2 * self._patience_ms, LAST_REPLY_MS)
            return None
        self._patience_ms = FIRST_REPLY_MS
        self._note_answer()
        with contextlib.suppress(msgspec.DecodeError):
            return history.read_reply(self._history.recv())
        return None

    def _show_key(self, key: Path | str, endpoint: str) -> None:
        for socket in (self._live, self._history):
            if is_secured(endpoint):
                secure_client(socket, key)

    def _check_handshakes(self) -> None:
        try:
            self._handshakes.check()
        except KeysError:
            self.close()
            raise

    def _note_answer(self) -> None:
        self._answered, self._is_silent = time.monotonic(), False

    def _notice_silence(self) -> None:
        if not self._is_silent and time.monotonic() - self._answered >= SILENT_S:
            self._is_silent = True
            self._on_silence(self.catch_up.open is not None)

    def _tell(self, request: history.LinesRequest) -> None:
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
    key: Path | str | None = None,
) -> Iterator[Result]:
    """Results as they are published, each once and in order, until every stream has ended.

    `from_start` begins with frame 1 of each stream however late we come, `first` with another number. `key`: our key
    file, where the pipeline has keys.
    """
    return Subscription(endpoint, stream, 1 if from_start else first, timeout_s, key=key)  # type: ignore[return-value]  # without `ends` it yields results only
