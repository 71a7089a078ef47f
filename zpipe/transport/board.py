"""The board: where each worker shows its heartbeat and what it is working on.

One row of shared memory per living worker, written by the worker's own work loop, read by the supervisor. A
row survives its writer, so after a crash it still names the frame that was in work, exactly: the frame to blame.
A message could not say that; the last ones of a crashing process never leave its socket. And it costs the worker
half a microsecond a frame and the broker nothing.

A row is eight 64-bit words: state, stream, seq (of the frame in work, or of the last one), since_ns (when it began this
frame), beat_ns (its last sign of life), done (frames), busy_ns (time in work, all frames), and in halves subscribers
and behind (sink only). Times are CLOCK_MONOTONIC, which all processes of a machine share.

It is read at any moment, also between two words of one change. So each is stored at once, and the state after the times
that go with it. (`struct` writes zeros first, and a worker that has been at work since time 0 is killed as hung.)

Work on a frame ends when its output has left, not when the model returns: a model that has closed file descriptors or
overwritten memory kills its process just then. So a worker says `done` when the model is through, and `beat` when the
output has left; in between, and until the next `begin`, its row names the frame.
"""

import mmap
import os
import struct
import time
from pathlib import Path
from typing import NamedTuple

ROWS = 1024
"""Most workers alive at once; a row is used again when its worker is reaped. 64 KiB."""

STARTING, IDLE, BUSY, WAITING = 0, 1, 2, 3
"""WAITING: for shared memory, which others will give back."""

_ROW = struct.Struct("7Q2I")
_STATE, _STREAM, _SEQ, _SINCE_NS, _BEAT_NS, _DONE, _BUSY_NS = range(7)
_WORDS = 8
_AUDIENCE = struct.Struct("2I")
_now = time.monotonic_ns


class Row(NamedTuple):
    """A worker's row as read; `working` is the frame in work."""

    state: int
    stream: int
    seq: int
    since_ns: int
    beat_ns: int
    done: int
    busy_ns: int
    subscribers: int
    behind: int

    @property
    def working(self) -> tuple[int, int] | None:
        """The frame that it works on (or worked on when it died), if any."""
        return (self.stream, self.seq) if self.state == BUSY else None

    @property
    def last(self) -> tuple[int, int] | None:
        """The frame that it works on, or has worked on last, if any."""
        return (self.stream, self.seq) if self.seq else None

    def silent_s(self, now_ns: int) -> float:
        """For how long it has been on one frame, or without a sign of life, in seconds."""
        return (now_ns - (self.since_ns if self.state == BUSY else self.beat_ns)) / 1e9


class Board:
    """All rows; the supervisor's side. Creates the file."""

    def __init__(self, folder: Path) -> None:
        self._memory = _map(folder, os.O_CREAT)

    def clear(self, row: int) -> None:
        """Prepare a row for a worker that is being started."""
        _ROW.pack_into(self._memory, row * _ROW.size, STARTING, 0, 0, 0, _now(), 0, 0, 0, 0)

    def read(self, row: int) -> Row:
        """The row as it stands; a row of a dead worker stands until it is cleared."""
        return Row._make(_ROW.unpack_from(self._memory, row * _ROW.size))

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()


class Heart:
    """One worker's own row."""

    def __init__(self, folder: Path, row: int) -> None:
        self._memory = _map(folder, 0)
        self._at = row * _ROW.size
        self._row = memoryview(self._memory).cast("Q")[row * _WORDS : (row + 1) * _WORDS]
        self._since_ns = 0
        self._done = 0
        self._busy_ns = 0

    def beat(self) -> None:
        """Alive and waiting for work; what it has done has left."""
        self._show(IDLE)

    def wait(self) -> None:
        """Alive and waiting for memory; to be said again and again until `resume`."""
        self._show(WAITING)

    def resume(self) -> None:
        """Working on the same frame again, from now on."""
        self.begin(self._row[_STREAM], self._row[_SEQ])

    def begin(self, stream: int, seq: int) -> None:
        """Working on this frame from now on. MUST come before anything of the frame is touched."""
        row = self._row
        self._since_ns = row[_SINCE_NS] = row[_BEAT_NS] = _now()
        row[_STREAM], row[_SEQ] = stream, seq
        row[_STATE] = BUSY

    def done(self) -> int:
        """The work on the frame is done, and counts from now on, but its output has not left yet: the row names the
        frame until the next `begin` or `beat`. Returns how long it took in nanoseconds."""
        took_ns = _now() - self._since_ns
        self._done += 1
        self._busy_ns += took_ns
        self._row[_DONE], self._row[_BUSY_NS] = self._done, self._busy_ns
        return took_ns

    def finish(self) -> int:
        """Done with the frame, and nothing of it is left to be sent; returns how long it took in nanoseconds."""
        took_ns = self.done()
        self.beat()
        return took_ns

    def show_audience(self, plain: int, behind: int = 0) -> None:
        """How many plain subscribers the sink has, and zpipe's that have not everything: for its successor."""
        _AUDIENCE.pack_into(self._memory, self._at + 56, plain, behind)

    def _show(self, state: int) -> None:
        self._row[_BEAT_NS] = _now()
        self._row[_STATE] = state

    def close(self) -> None:
        """Unmap it."""
        self._row.release()
        self._memory.close()


def _map(folder: Path, flags: int) -> mmap.mmap:
    file = os.open(folder / "board", os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        if flags & os.O_CREAT:
            os.posix_fallocate(file, 0, ROWS * _ROW.size)
        return mmap.mmap(file, ROWS * _ROW.size)
    finally:
        os.close(file)
