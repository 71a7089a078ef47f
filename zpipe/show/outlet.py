"""Where a display writes: a file descriptor that may be closed, full, or read by nobody. Knows nothing of what it says.

Nothing in here raises and nothing waits, so that whoever reads along can never disturb a run: what cannot be written
now waits within bounds, and once writing has failed (a closed pipe, a full disk, a terminal that is gone) all is quiet.
"""

import fcntl
import os
import select
import stat
import struct
import sys
import termios
import time
from collections import deque

from zpipe.show.text import plain_lines

MOST_WAITING_BYTES = 1 << 20
"""What is kept for a reader who does not read. Beyond it, what comes new is lost."""

LAST_S = 1.0
"""How long the end of a process may wait for its reader."""


class Outlet:
    """Writes whole messages to a file descriptor, none of them in part but the last."""

    def __init__(self, fd: int, encoding: str = "utf-8") -> None:
        self._encoding = encoding
        self._fd = _open_again(fd)
        self._is_pipe = self._fd >= 0 and stat.S_ISFIFO(os.fstat(self._fd).st_mode)
        self._poller = select.poll()
        if self._fd >= 0:
            self._poller.register(self._fd, select.POLLOUT)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0

    def put(self, text: str, *, passing: bool = False) -> bool:
        """Write it, or as soon as there is room; whether it is accepted.

        `passing`: worth something only now, and lost where it would have to wait or would take the room of what
        comes last: a reader who sleeps finds the end of a run in its pipe.
        """
        self.flush()
        data = text.encode(self._encoding, "backslashreplace")
        full = self._waiting_bytes + len(data) > MOST_WAITING_BYTES
        if self._fd < 0 or full or (passing and (self._waiting or not self._is_roomy())):
            return False
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self.flush()
        return True

    def flush(self) -> None:
        """Write what can be written now."""
        while self._waiting and self._poller.poll(0):
            data = self._waiting.popleft()
            try:
                # No more than this is sure to fit into a pipe that is ready.
                done = os.write(self._fd, data[: select.PIPE_BUF])
            except BlockingIOError:
                done = 0
            except OSError:
                self._give_up()
                return
            self._waiting_bytes -= done
            if done < len(data):
                self._waiting.appendleft(data[done:])
            if not done:
                return

    def close(self) -> None:
        """Write what still waits, for a moment; closing twice is harmless."""
        deadline = time.monotonic() + LAST_S
        while self._waiting and (left_s := deadline - time.monotonic()) > 0:
            self._poller.poll(left_s * 1000)
            self.flush()
        self._give_up()

    def _give_up(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._fd >= 0:
            self._poller.unregister(self._fd)
            os.close(self._fd)
        self._fd = -1

    def _is_roomy(self) -> bool:
        """Whether no more than a quarter of a pipe is filled: small messages may take twice their size in there."""
        if not self._is_pipe:
            return True
        try:
            (unread,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))
            return bool(unread * 4 <= fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ))
        except OSError:
            return True


def _open_again(fd: int) -> int:
    """A file descriptor of our own for the same thing, -1 if it is closed.

    Other processes share what is open in a terminal, so a terminal is opened anew: how we write is then ours alone.
    """
    try:
        if os.isatty(fd):
            return os.open(os.ttyname(fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # another user's terminal (su)
        pass
    try:
        return os.dup(fd)
    except OSError:
        return -1


def fill_standard_files() -> None:
    """Open /dev/null where a process was started with closed standard files (`2>&-`), before something else is opened
    in their place and gets what libraries print."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def turn_off(fd: int) -> None:
    """What is printed there from now on, and what still waits to be printed, goes nowhere: Python flushes when it
    exits, and would turn the exit code into 120."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), fd)


def say(text: str) -> None:
    """A line for the person at the terminal, who may be gone."""
    out = Outlet(2, getattr(sys.stderr, "encoding", "utf-8"))
    out.put(f"zpipe: {plain_lines(text)}\n")
    out.close()
