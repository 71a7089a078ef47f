"""The results file: JSON Lines, one line per published message; owns writing, resuming and reading it.

It is also the pipeline's memory: a restarted sink, `zpipe up --resume` and a subscriber that missed something all go on
from what is in it. So a line counts once it is written whole; half a line at the end (the writer was killed)
is cut off. An index of every INDEX_STEP-th line of each stream keeps reading from any number cheap.
"""

import fcntl
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from zpipe.errors import UNDECODABLE, ResultsError

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

    `fresh`: empty it first. `undrain`: the run goes on, so the ends of streams that were drained are taken out.
    `lock`: nobody else may, until this is closed; ResultsError if somebody else has.
    """

    def __init__(self, path: Path, fresh: bool, undrain: bool = False, lock: bool = False) -> None:
        self.path = path
        self.run: str | None = None
        self.streams: dict[str, StreamLog] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
            if lock:
                lock_file(self._file, path)
            if fresh:
                os.ftruncate(self._file, 0)
            self._size = self._load(undrain)
        except OSError as error:
            raise ResultsError(f"results file {path}: {error.strerror}") from None

    def append(self, stream: str, seq: int, line: bytes, status: str | None) -> None:
        """Write one line whole, or raise ResultsError and leave the file as it was. `status` None: end of stream."""
        data = line + b"\n"
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self._size + written)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise ResultsError(f"results file {self.path}: {error.strerror}") from None
        self._count(self.stream(stream), seq, status, self._size)
        self._size += len(data)

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

    def _load(self, undrain: bool) -> int:
        """Read the account of what is there and cut half a line at the end; the size that remains."""
        drained, good = False, 0
        for at, line in self._lines_from(0):
            head = _head(self.path, at, line)
            good = at + len(line) + 1
            if undrain and head.type == "eos" and head.drained:
                drained = True
                continue
            self.run = head.run
            log = self.stream(head.stream)
            if head.seq != log.seq + 1 or log.closed:
                raise ResultsError(
                    f"results file {self.path}, byte {at}: {head.stream} {head.seq} follows {head.stream} {log.seq}"
                )
            self._count(log, head.seq, None if head.type == "eos" else head.status, at)
        os.ftruncate(self._file, good)
        return self._without_drained_ends() if drained else good

    def _without_drained_ends(self) -> int:
        """A drained stream goes on: write the file anew without the ends that the drained run published."""
        path = self.path.with_name(self.path.name + ".resume")
        anew = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o666)
        lock_file(anew, path)  # before it takes the place of the one that is locked
        with open(anew, "wb", closefd=False) as file:
            for _, line in self._lines_from(0):
                head = _heads.decode(line)
                if not (head.type == "eos" and head.drained):
                    file.write(line + b"\n")
        os.replace(path, self.path)
        os.close(self._file)
        self._file = anew
        self.streams.clear()
        return self._load(undrain=False)

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


def is_unfinished(path: Path, streams: Collection[str]) -> bool:
    """Whether the file has results of a run that did not come to its end.

    `streams`: those of the run to come. If one of them is in the file, another that is not had not begun.
    """
    if not path.exists():
        return False
    closed: dict[str, bool] = {}
    for head in heads(path):
        closed[head.stream] = head.type == "eos" and not head.drained
    not_begun = closed.keys() & streams and not closed.keys() >= set(streams)
    return bool(not_begun) or not all(closed.values())


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
    """ResultsError if a living pipeline writes this file."""
    if path.exists():
        with open(path, "rb") as file:
            lock_file(file.fileno(), path)
