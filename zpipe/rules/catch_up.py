"""What a subscriber misses and how it gets it: the gap logic of `Subscription`. Pure: no socket, no clock.

In come live messages and replies of the history; out come messages in `ready`, each once and in order within its
stream, and `Wanted`, the questions to ask the history next. A message that comes too early is not kept: the history has
it (the sink logs before it publishes), and gives it when its turn has come. A question whose reply is lost is harmless:
the next live message, or `HOW_FAR` after a silence, brings it up again.
"""

import contextlib
from collections import deque
from typing import NamedTuple

import msgspec

from zpipe import messages
from zpipe.errors import ZpipeError
from zpipe.messages import Eos, Published
from zpipe.rules.history import Reply


class Wanted(NamedTuple):
    """A question to the history: the lines of `stream` from number `first` on. No stream: how far all of them are."""

    stream: str | None = None
    first: int = 1


HOW_FAR = Wanted()


class CatchUp:
    """How far a subscriber has come. `stream`: the one it reads (None: all); `first`: the number that it begins with
    (None: with what comes next).

    `next` is the number that comes next, by stream; `open` are the streams whose end has not come (None: nobody has
    told yet which there are). Others may come: then the end of those that are known is not the end.
    """

    def __init__(self, stream: str | None = None, first: int | None = None) -> None:
        self._stream = stream
        self._first = first
        self._run = ""
        self._more = False
        self._behind: set[str] = set()
        self.next: dict[str, int] = {}
        self.open: set[str] | None = None
        self.ready: deque[tuple[bytes, Published]] = deque()

    @property
    def is_done(self) -> bool:
        """Whether every stream has come to its end, and no other one can come."""
        return self.open is not None and not self.open and not self._more

    @property
    def is_behind(self) -> bool:
        """Whether the history has more of what it gave last, so that it is asked again at once."""
        return bool(self._behind)

    def hear(self, line: bytes, message: Published) -> list[Wanted]:
        """Take a live message: the next in order, a repeat, of another run, or after a gap. Returns what to ask."""
        if self.open is None or message.run != self._run:
            return [HOW_FAR]
        if message.stream not in self.open:
            is_new = self._stream in (None, message.stream) and message.stream not in self.next
            return [HOW_FAR] if is_new else []
        if isinstance(message, Eos):  # a number beyond the end never comes; the end does
            self.next[message.stream] = min(self.next[message.stream], message.seq)
        if message.seq > self.next[message.stream]:
            return [Wanted(message.stream, self.next[message.stream])]
        self._accept(line, message)
        return []

    def learn(self, reply: Reply) -> list[Wanted]:
        """Take the reply to `HOW_FAR`. Returns what to ask: the streams of which there is more.

        ZpipeError if the stream that it reads is not among them.
        """
        if reply.run != self._run:
            self._begin(reply)
        self._more = reply.more
        self._meet(reply)
        self._behind.clear()
        wanted = []
        for state in reply.streams:
            if not self.open or state.stream not in self.open:
                continue
            if state.closed:
                self.next[state.stream] = min(self.next[state.stream], state.published + 1)
            if self.next[state.stream] <= state.published + state.closed:
                wanted.append(Wanted(state.stream, self.next[state.stream]))
        return wanted

    def fill(self, wanted: Wanted, reply: Reply) -> None:
        """Take the reply to a question for lines. Lines that were not asked for do no harm."""
        if reply.run != self._run or wanted.stream is None:
            return
        for line in reply.lines:
            with contextlib.suppress(msgspec.DecodeError):
                self._accept(line, messages.parse(line))
        self._behind.discard(wanted.stream)
        for state in reply.streams:
            # Only what is getting better is asked for again at once.
            if state.stream == wanted.stream and wanted.first < self.next.get(state.stream, 0) <= state.published:
                self._behind.add(state.stream)

    def _begin(self, reply: Reply) -> None:
        """Begin with this run. What comes next of a run that follows one that we have seen is all of it."""
        first = 1 if self._first is None and self._run else self._first
        names = [state.stream for state in reply.streams]
        if not reply.more and (not names or self._stream not in (None, *names)):
            raise ZpipeError(f"has no stream {self._stream or ''!r}: {', '.join(names)}")
        self._run = reply.run
        self.open = {name for name in names if self._stream in (None, name)}
        # What comes next of a stream that is closed is its end.
        self.next = {
            state.stream: state.published + 1 if first is None else max(1, first)
            for state in reply.streams
            if state.stream in self.open
        }

    def _meet(self, reply: Reply) -> None:
        """Streams that have come since: what comes next of them is all of them."""
        assert self.open is not None
        for state in reply.streams:
            if state.stream not in self.next and self._stream in (None, state.stream):
                self.open.add(state.stream)
                self.next[state.stream] = max(1, self._first or 1)

    def _accept(self, line: bytes, message: Published) -> None:
        """Take a message if it is the next of a stream that is open; else it is a repeat, or too early."""
        if self.open is None or message.run != self._run or message.stream not in self.open:
            return
        if message.seq != self.next[message.stream]:
            return
        self.next[message.stream] += 1
        self.ready.append((line, message))
        if isinstance(message, Eos):
            self.open.discard(message.stream)
