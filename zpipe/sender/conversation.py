"""What a sender and the gate have said to each other so far, and who waits for what. Owns the lock; no socket.

Above are the programs that put frames and take results, from any thread; below is the thread of the connection, which
asks here what to say and tells what it heard.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from zpipe import upload
from zpipe.errors import Fenced, NoCredit, NotRunning, SenderError, ZpipeError
from zpipe.rules.outbox import Outbox
from zpipe.rules.returns import ResultLine, read_line
from zpipe.sender.frames import Parcel

MOST_LINES, MOST_LINES_BYTES = 10_000, 64 << 20
"""Results that are kept for who does not take them; further ones are asked for again when these are taken."""

SILENT_S = 1.0
"""After so long without an answer nobody seems to be there."""

LOOK_S = 0.2


class Conversation:
    """Of one sender. `on_silence` is called when nobody answers; `greet` has the connection say hello again."""

    def __init__(
        self, endpoint: str, hello: upload.Hello, timeout_s: float | None, on_silence: Callable[[], None]
    ) -> None:
        self._endpoint = endpoint
        self._hello = hello
        self._timeout_s = timeout_s
        self._on_silence = on_silence
        self._changed = threading.Condition()
        self._outbox = Outbox[Parcel]()
        self._lines: deque[ResultLine] = deque()
        self._lines_bytes = 0
        self._next_line = hello.first
        self._is_behind = self._is_ended = False
        self._is_welcome = self._is_draining = self._is_closed = False
        self._end: int | None = None
        self._error: ZpipeError | None = None
        self._heard_at = time.monotonic()
        self._is_silent = False
        self.stream = ""
        self.greet: Callable[[], None] = lambda: None

    # ---- for programs -------------------------------------------------------------------------------------

    @property
    def answered(self) -> int:
        """The number of the last frame that has its result."""
        return self._outbox.answered

    def await_welcome(self) -> int:
        """Wait until the pipeline has said where the stream stands: the number of the next frame."""
        with self._changed:
            while self._outbox.next is None:
                self._pause()
            return self._outbox.next

    def put(self, frame: Parcel, wait: bool) -> int:
        """Keep a frame and have it sent, once there is credit for it; its number."""
        self.await_welcome()
        with self._changed:
            while not self._outbox.has_room(frame.size):
                self._check_open()
                if not wait:
                    raise NoCredit(f"{self._outbox.waiting} frames have no result yet, as many as may be")
                self._pause()
            self._check_open()
            return self._outbox.put(frame, frame.size)

    def end(self) -> None:
        """No more frames come."""
        self.await_welcome()
        with self._changed:
            self._outbox.end()

    def next_line(self, until_end: bool) -> ResultLine | None:
        """The next result, or the end of the stream; None when nothing comes any more, as far as is known by now."""
        with self._changed:
            while not self._lines:
                if self._is_ended:
                    self._check_whole()
                    return None
                if not until_end and self._outbox.count is None and self._next_line == self._outbox.next:
                    return None
                if self._is_behind:
                    self._is_behind = False
                    self.greet()
                self._pause()
            line = self._lines.popleft()
            self._lines_bytes -= len(line.data)
            return line

    def await_end(self) -> None:
        """Wait for the end of the stream; SenderError if it came too early."""
        with self._changed:
            while self._end is None:
                self._pause()
            self._check_whole()

    def close(self) -> None:
        """Nobody waits for anything any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    # ---- for the connection's thread (`connection.Talk`) --------------------------------------------------

    def hello(self) -> upload.Hello:
        """What to say first, and again."""
        with self._changed:
            return msgspec.structs.replace(self._hello, first=self._next_line)

    def has_frame(self) -> bool:
        """Whether there is a frame to be sent."""
        with self._changed:
            return self._may_send and self._outbox.peek() is not None

    def next_frame(self) -> tuple[int, Parcel] | None:
        """The next frame to be sent, and its number: it counts as sent."""
        with self._changed:
            kept = self._outbox.take() if self._may_send else None
        return None if kept is None else (kept.seq, kept.content)

    def next_end(self) -> int | None:
        """The number of frames, when the end is to be said."""
        with self._changed:
            return self._outbox.take_end() if self._may_send else None

    def is_waiting(self) -> bool:
        """Whether something must come yet."""
        is_ending = self._outbox.count is not None and self._end is None
        return self._outbox.next is None or self._outbox.waiting > 0 or is_ending

    def fail(self, error: ZpipeError) -> None:
        """There will be no connection, for this reason."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def lost(self) -> None:
        """The connection is lost."""
        with self._changed:
            self._is_welcome = False

    def hear(self, message: upload.ToSender) -> None:
        """The gate says something."""
        with self._changed:
            self._heard_at = time.monotonic()
            try:
                self._take(message)
            except ZpipeError as error:
                self._error = error
            self._changed.notify_all()

    # ---- inside, with the lock ----------------------------------------------------------------------------

    @property
    def _may_send(self) -> bool:
        return self._is_welcome and self._error is None and not self._is_draining

    def _take(self, message: upload.ToSender) -> None:
        match message:
            case upload.Welcome():
                self._hello = msgspec.structs.replace(self._hello, session=message.session)
                self.stream = message.stream
                self._outbox.welcome(message.next, message.frames, message.bytes)
                self._is_welcome = True
            case upload.Credit(frames, size):
                self._outbox.credit(frames, size)
            case upload.SendFrom(following) if self._is_welcome:
                self._outbox.go_back(following)
            case upload.Results(lines):
                for line in filter(None, map(read_line, lines)):
                    self._take_line(line)
            case upload.Draining():
                self._is_draining = True
            case upload.TurnedAway(reason):
                raise SenderError(f"{self._endpoint} refuses {self._hello.name}: {reason}")
            case upload.FencedOff(reason):
                raise Fenced(f"{self._endpoint} has fenced {self._hello.name} off: {reason}")

    def _take_line(self, line: ResultLine) -> None:
        if line.is_end:
            self._end = line.seq
        else:
            self._outbox.answer(line.seq)
        if line.seq < self._next_line:
            return
        has_room = len(self._lines) < MOST_LINES and self._lines_bytes < MOST_LINES_BYTES
        if line.seq > self._next_line or not has_room:
            self._is_behind = True
            return
        self._next_line += 1
        self._lines.append(line)
        self._lines_bytes += len(line.data)
        self._is_ended = line.is_end

    def _pause(self) -> None:
        """Wait until something changes; raise what makes it no use."""
        self._check_error()
        self._changed.wait(LOOK_S)
        silent_s = time.monotonic() - self._heard_at
        if not self.is_waiting() or silent_s < SILENT_S:
            self._is_silent = False
        elif not self._is_welcome and not self._is_silent:
            self._is_silent = True
            self._on_silence()
        if self._timeout_s is not None and silent_s > self._timeout_s and self.is_waiting():
            raise NotRunning(f"nobody has answered on {self._endpoint} for {self._timeout_s:g} s")

    def _check_error(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._is_closed:
            raise SenderError("the sender is closed")

    def _check_open(self) -> None:
        self._check_error()
        if self._is_draining or self._end is not None:
            raise SenderError(self._said_stopped())

    def _check_whole(self) -> None:
        """The stream has come to its end: is it ours?"""
        assert self._end is not None
        if self._outbox.next != self._end:
            raise SenderError(self._said_stopped())

    def _said_stopped(self) -> str:
        taken = "" if self._end is None else f" after {self._end - 1} frames"
        return f"stream {self.stream} was ended{taken} before all were sent: the pipeline takes no further frame of it"
