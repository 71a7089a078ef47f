"""Signals as something to poll; owns the signal handlers of `zpipe up` while it runs."""

import signal
import socket
from types import FrameType
from typing import Any


class Signals:
    """Signals as something to poll: a child has died, Ctrl-C, SIGTERM. Restores the handlers on leaving.

    A terminal that is gone (SIGHUP) ends nothing: who looked on has left, the run goes on.
    """

    TO_END = (signal.SIGINT, signal.SIGTERM)
    SIGNALS = (signal.SIGCHLD, signal.SIGHUP, *TO_END)

    def __init__(self) -> None:
        self._ours, self._pythons = socket.socketpair()
        for end in (self._ours, self._pythons):
            end.setblocking(False)
        self._before: dict[signal.Signals, Any] = {}
        self._before_fd = -1

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._ours.fileno()

    def read(self) -> int:
        """Take what has come; how many of it ask to end."""
        try:
            numbers = self._ours.recv(4096)
        except BlockingIOError:
            return 0
        return sum(number in self.TO_END for number in numbers)

    def __enter__(self) -> "Signals":
        def handled(number: int, frame: FrameType | None) -> None:
            pass  # the byte that Python writes to the pipe is what counts

        self._before_fd = signal.set_wakeup_fd(self._pythons.fileno(), warn_on_full_buffer=False)
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, handled)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before_fd)

    def close(self) -> None:
        """Close the pipe; closing twice is harmless."""
        self._ours.close()
        self._pythons.close()
