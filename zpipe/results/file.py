"""The results file: JSON Lines, one line per published message; owns writing, resuming and reading it.

It is also the pipeline's memory: a restarted sink, `zpipe up --resume` and a subscriber that missed something all go on
from what is in it. So a line counts once it is written whole; half a line at the end (the writer was killed)
is cut off. An index of every INDEX_STEP-th line of each stream keeps reading from any number cheap.

Others may lay hands on it: what is no results file is refused, what is not as we wrote it any more is noticed, and a
file that takes the place of another has its mode, behind the same symbolic link.
"""

import fcntl
import os
import stat
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from zpipe.errors import UNDECODABLE, ResultsError
from zpipe.results.record import SUM_EVERY_BYTES, Record, checksum_of

START = b'{"type":"'
"""How each line begins."""

INDEX_STEP = 64
BLOCK_BYTES = 1 << 18

MOST_SCANNED_BYTES = 8 << 20
"""So much is read for one request at most, once something is found: other streams' lines may lie between, and the
sink publishes nothing meanwhile. About 20 ms."""


class Head(msgspec.Struct):
    """What the account of a run needs of a line."""

    type: Literal["frame", "eos"]
    run: str
    stream: str
    seq: Annotated[int, Meta(ge=1)]
    name: str = ""
    status: Literal["ok", "failed"] = "ok"
    drained: bool = False


_heads = msgspec.json.Decoder(Head)


@dataclass
class StreamLog:
    """What the file holds of one stream. Line `i * INDEX_STEP + 1` begins at `offsets[i]`, its end at `end_at`."""

    seq: int = 0
    ok: int = 0
    failed: int = 0
    closed: bool = False
    end_at: int = 0
    offsets: list[int] = field(default_factory=list)


class ResultsFile:
    """A results file open for appending. `run` is the id of the run that it belongs to, None if it is empty.

    `fresh`: empty it first. `undrain`: the run goes on, so the ends of streams that were drained are taken out, but for
    those that `stay` ended.
    `lock`: nobody else may, until this is closed; ResultsError if somebody else has. Its record's checksums grow with
    it, where there is a record.
    """

    def __init__(
        self, path: Path, fresh: bool, undrain: bool = False, lock: bool = False, stay: Collection[str] = ()
    ) -> None:
        self._set_out(path)
        self._stay = stay
        self._file = open_file(path)
        try:
            if lock:
                lock_file(self._file, path)
            if fresh:
                os.ftruncate(self._file, 0)
            self._size = self._load(undrain)
            self._block = self._sums.cut(self._size)
            self._checksum = checksum_of(self._file, self._block, self._size)
        except OSError as error:
            self.close()
            raise ResultsError(f"results file {path}: {error.strerror}") from None
        except ResultsError:
            self.close()
            raise

    @classmethod
    def nothing_yet(cls, path: Path) -> "ResultsFile":
        """What a run has in the file before it has begun: nothing. The file itself is left alone."""
        file = cls.__new__(cls)
        file._set_out(path)
        return file

    def _set_out(self, path: Path) -> None:
        self.path = path
        self.run: str | None = None
        self.streams: dict[str, StreamLog] = {}
        self._file, self._size = -1, 0
        self._sums = Record(path).sums
        self._block, self._checksum = 0, 0  # where the block that is being written begins, and its checksum so far

    @property
    def is_open(self) -> bool:
        """Whether it can be appended to."""
        return self._file >= 0

    def append(self, stream: str, seq: int, line: bytes, status: str | None) -> None:
        """Write one line whole, or raise ResultsError and leave the file as it was. `status` None: end of stream."""
        data = line + b"\n"
        if os.lseek(self._file, 0, os.SEEK_END) != self._size:
            self.check()
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self._size + written)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise ResultsError(f"results file {self.path}: {error.strerror}") from None
        self._count(self.stream(stream), seq, status, self._size)
        self._size += len(data)
        self._checksum = zlib.crc32(data, self._checksum)
        if self._size - self._block >= SUM_EVERY_BYTES or status is None:
            self._sums.add(self._size, self._checksum)
            self._block, self._checksum = self._size, 0

    def check(self) -> None:
        """ResultsError if the file is not what was written to it any more: removed, replaced, cut or added to."""
        ours = os.fstat(self._file)
        try:
            there = os.stat(self.path)
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            what = "was removed, renamed or replaced"
        elif ours.st_size != self._size:
            what = f"had {self._size} bytes and has now {ours.st_size}"
        else:
            return
        raise ResultsError(
            f"results file {self.path} {what} while it was written: continue with --resume, which makes it whole"
        )

    def stream(self, name: str) -> StreamLog:
        """The account of a stream; an empty one if nothing of it was written."""
        return self.streams.setdefault(name, StreamLog())

    def lines(self, stream: str, first: int, most: int = 1000, most_bytes: int = 1 << 20) -> list[bytes]:
        """Lines of the stream from number `first` on, in order (the end of stream is one more than the last)."""
        log = self.streams.get(stream, StreamLog())
        last = log.seq + log.closed
        if first > last:
            return []
        begin = log.offsets[(first - 1) // INDEX_STEP] if first <= log.seq else log.end_at
        found: list[bytes] = []
        size = 0
        for at, line in self._lines_from(begin):
            if found and at - begin > MOST_SCANNED_BYTES:
                break
            head = _heads.decode(line)
            if head.stream == stream and head.seq >= first:
                found.append(line)
                size += len(line)
                if len(found) >= most or size >= most_bytes or head.seq == last:
                    break
        return found

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def detach(self) -> int:
        """Give the file's descriptor, and its lock, to who asks; this one is closed then."""
        file, self._file = self._file, -1
        return file

    def _load(self, undrain: bool) -> int:
        """Read the account of what is there and cut half a line at the end; the size that remains."""
        drained, good = False, 0
        for at, line in self._lines_from(0):
            head = _head(self.path, at, line)
            good = at + len(line) + 1
            if undrain and self._goes_on(head):
                drained = True
                continue
            self.run = head.run
            log = self.stream(head.stream)
            if head.seq != log.seq + 1 or log.closed:
                raise ResultsError(
                    f"results file {self.path}, byte {at}: {head.stream} {head.seq} follows {head.stream} {log.seq}"
                )
            self._count(log, head.seq, None if head.type == "eos" else head.status, at)
        if not good:
            refuse_foreign(self._file, self.path)
        os.ftruncate(self._file, good)
        return self._without_drained_ends() if drained else good

    def _without_drained_ends(self) -> int:
        """A drained stream goes on: write the file anew without the ends that the drained run published."""
        same_up_to = self._size_before_drained_end()
        with Successor(self.path) as anew:
            for _, line in self._lines_from(0):
                head = _heads.decode(line)
                if not self._goes_on(head):
                    anew.file.write(line + b"\n")
        self._sums.cut(same_up_to)
        os.close(self._file)
        self._file = anew.number
        self.streams.clear()
        return self._load(undrain=False)

    def _size_before_drained_end(self) -> int:
        for at, line in self._lines_from(0):
            if self._goes_on(_heads.decode(line)):
                return at
        return 0

    def _goes_on(self, head: Head) -> bool:
        """It is the end of a stream that was only drained."""
        return head.type == "eos" and head.drained and head.stream not in self._stay

    def _lines_from(self, at: int) -> Iterator[tuple[int, bytes]]:
        return whole_lines(self._file, at)

    @staticmethod
    def _count(log: StreamLog, seq: int, status: str | None, at: int) -> None:
        if status is None:
            log.closed, log.end_at = True, at
            return
        if (seq - 1) % INDEX_STEP == 0:
            log.offsets.append(at)
        log.seq = seq
        log.ok += status == "ok"
        log.failed += status == "failed"


def whole_lines(file: int, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset, line without its end) of every whole line of a file from an offset on."""
    rest = b""
    while block := os.pread(file, BLOCK_BYTES, at + len(rest)):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield at, line
            at += len(line) + 1


def _head(path: Path, at: int, line: bytes) -> Head:
    try:
        return _heads.decode(line)
    except UNDECODABLE as error:
        raise ResultsError(f"{path}, byte {at}: not a line of a results file: {error}") from None


def heads(path: Path) -> Iterator[Head]:
    """The heads of all whole lines of a results file, which stays as it is; ResultsError at the first that is none."""
    with open(path, "rb") as file:
        for at, line in whole_lines(file.fileno()):
            yield _head(path, at, line)


def run_in(path: Path, streams: Collection[str]) -> tuple[str | None, bool]:
    """The run that the file has results of, and whether it came to its end; ResultsError if it is no results file.

    `streams`: those of the run to come. If one of them is in the file, another that is not had not begun.
    """
    run: str | None = None
    closed: dict[str, bool] = {}
    for head in heads(path):
        run = head.run
        closed[head.stream] = head.type == "eos" and not head.drained
    if run is None:
        with open(path, "rb") as file:
            refuse_foreign(file.fileno(), path)
    not_begun = closed.keys() & streams and not closed.keys() >= set(streams)
    return run, not not_begun and all(closed.values())


def refuse_foreign(file: int, path: Path) -> None:
    """ResultsError if a file without a whole line is not the beginning of one of ours, which was killed in it."""
    start = os.pread(file, len(START), 0)
    if start != START[: len(start)]:
        raise ResultsError(f"{path}, byte 0: not a line of a results file; --overwrite replaces it")


class Successor:
    """A file that takes the place of the one at `path` when the block is left, all of it at once.

    It has that one's mode, is locked before it is there, and stands behind the same symbolic link. `number` is its file
    descriptor, which stays open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._real = os.path.realpath(path)
        self._anew = self._real + ".new"
        self.number = -1

    def __enter__(self) -> "Successor":
        self.number = os.open(self._anew, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.fchmod(self.number, stat.S_IMODE(os.stat(self._real).st_mode))
        lock_file(self.number, self._path)
        self.file = open(self.number, "wb", closefd=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.file.close()
        if kind is not None:
            os.unlink(self._anew)
            os.close(self.number)
            return
        os.fsync(self.number)
        os.replace(self._anew, self._real)


def open_file(path: Path) -> int:
    """Open a results file, made if there is none; ResultsError if it is no file that lines can be appended to."""
    try:
        refuse_other_things(path)
        Path(os.path.realpath(path)).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ResultsError(f"results file {path}: {error.strerror}") from None


def refuse_other_things(path: Path) -> None:
    """ResultsError for a folder, a FIFO, a device: results are read again from where they were written."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise ResultsError(f"results file {path}: Is a directory; name a file in it")
    if not stat.S_ISREG(mode):
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise ResultsError(f"results file {path}: is {kind}; results must go to a file that can be read again")


def lock_file(file: int, path: Path) -> None:
    """Let nobody else write this file until it is closed; ResultsError if somebody else does. Dies with its process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ResultsError(
            f"{path} is being written by another pipeline: give this one another file (`--set sink.results=...`)"
        ) from None
    except OSError:  # a file system without locks
        return


def check_unlocked(path: Path) -> None:
    """ResultsError if a living pipeline writes this file, or if it can be no results file."""
    try:
        refuse_other_things(path)
        if path.exists():
            with open(path, "rb") as file:
                lock_file(file.fileno(), path)
    except OSError as error:
        raise ResultsError(f"results file {path}: {error.strerror}") from None
