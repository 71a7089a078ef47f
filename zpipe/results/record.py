"""The run's record: what a run must remember to go on, in a folder beside its results file. Owns that folder.

    results.jsonl.record/run.json      which run it is, and what decides its results (run/fingerprint.py)
                         STREAM.list   the frames of a stream as they were listed first (sources/listing.py)
                         news          what has come and gone while it ran (results/news.py)
                         sums          a line for each block of the results file: where it ends, its CRC-32

Considered was one file, but then `up` would write all lists anew for each source, and the sink for each block. So it is
a folder whose files have one writer each: they are written once (write, fsync, rename); `sums` and `news` only grow.

Nobody needs it to read a results file; without it a run is continued as well as its results alone allow.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from zpipe.errors import UNDECODABLE, ResultsError
from zpipe.results.news import Event, News

SCHEMA = 1
SUM_EVERY_BYTES = 256 << 10
READ_BYTES = 1 << 20


class Begun(msgspec.Struct):
    """What `run.json` says. `decides`: by key of the config (and `stages`), what the results depend on."""

    run: str
    decides: dict[str, Any]
    schema: int = SCHEMA


class Record:
    """The record of the results file `results`; nothing is there before `begin`."""

    def __init__(self, results: Path) -> None:
        real = Path(os.path.realpath(results))
        self.folder = real.with_name(real.name + ".record")
        self.sums = Sums(self.folder / "sums")
        self.news = News(self.folder / "news")

    def read(self) -> Begun | None:
        """Which run it is of; None if there is no record, ResultsError if it cannot be read."""
        path = self.folder / "run.json"
        try:
            begun = msgspec.json.decode(path.read_bytes(), type=Begun)
        except FileNotFoundError:
            return None
        except (OSError, *UNDECODABLE) as error:
            raise ResultsError(f"the run's record {path} cannot be read: {error}") from None
        if begun.schema != SCHEMA:
            raise ResultsError(f"the run's record {path} has schema {begun.schema}: written by another zpipe")
        return begun

    def is_of(self, run: str) -> bool:
        """Whether this run has begun: then the results file is its own."""
        begun = self.read()
        return begun is not None and begun.run == run

    def begin(self, run: str, decides: dict[str, Any]) -> None:
        """A record of this run, in place of any other."""
        self.clear()
        with _translated(self.folder):
            self.folder.mkdir(mode=0o700, exist_ok=True)
        self.write("run.json", msgspec.json.encode(Begun(run, decides)))

    def clear(self) -> None:
        """Remove what a record consists of; what else somebody has put there stays."""
        with _translated(self.folder):
            # `run.json` first: what is left after a crash is no record.
            for path in [self.folder / "run.json", self.news.path, self.folder / "sums", *self.folder.glob("*.list")]:
                path.unlink(missing_ok=True)

    def move(self, results: Path) -> None:
        """The results file is now called `results`: go with it."""
        with _translated(self.folder), contextlib.suppress(FileNotFoundError):  # one that had no record
            os.rename(self.folder, Record(results).folder)

    def list_of(self, stream: str) -> bytes | None:
        """The list of a stream, as it was kept."""
        with _translated(self.folder), contextlib.suppress(FileNotFoundError):
            return (self.folder / f"{stream}.list").read_bytes()
        return None

    def keep_list(self, stream: str, listing: bytes) -> None:
        """Keep the list of a stream."""
        self.write(f"{stream}.list", listing)

    def keep_news(self, *events: Event) -> None:
        """Something has come or gone."""
        with _translated(self.folder):
            self.news.add(*events)

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the record whole."""
        with _translated(self.folder):
            write_whole(self.folder / name, data)


class Sums:
    """The checksums of a results file. Each block begins where the one before it ends, and holds whole lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[tuple[int, int]]:
        """(end, CRC-32) of each block; half a line at the end (its writer was killed) is none."""
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
        except OSError:
            return []
        found: list[tuple[int, int]] = []
        for line in lines:
            end, _, checksum = line.partition(b" ")
            try:
                found.append((int(end), int(checksum, 16)))
            except ValueError:
                break
        return found

    def add(self, end: int, checksum: int) -> None:
        """One more block. Without a record's folder nothing is kept."""
        with _translated(self._path), contextlib.suppress(FileNotFoundError), open(self._path, "ab") as file:
            file.write(b"%d %08x\n" % (end, checksum))

    def cut(self, size: int) -> int:
        """Forget blocks that end behind `size`, to which the results file was cut; where the last one left ends."""
        blocks = self.read()
        left = [block for block in blocks if block[0] <= size]
        if self._path.exists():
            text = b"".join(b"%d %08x\n" % block for block in left)
            with _translated(self._path):
                write_whole(self._path, text)
        return left[-1][0] if left else 0

    def first_damaged(self, results: Path) -> tuple[int, int] | None:
        """Begin and end of the first block that the file does not hold as it was written.

        Only of what is there: what was cut off, or is half a line (zeros, after a power failure), is computed again.
        """
        if not results.exists():
            return None
        with open(results, "rb") as file:
            number, begin = file.fileno(), 0
            size = end_of_lines(number)
            for end, checksum in self.read():
                if end <= size and checksum_of(number, begin, end) != checksum:
                    return begin, end
                begin = end
        return None


def end_of_lines(file: int) -> int:
    """Where the last whole line of a file ends."""
    at = os.fstat(file).st_size
    while at > 0:
        begin = max(0, at - READ_BYTES)
        if (found := os.pread(file, at - begin, begin).rfind(b"\n")) >= 0:
            return begin + found + 1
        at = begin
    return 0


def checksum_of(file: int, begin: int, end: int) -> int:
    """The CRC-32 of a part of a file."""
    checksum = 0
    while begin < end and (data := os.pread(file, min(READ_BYTES, end - begin), begin)):
        checksum = zlib.crc32(data, checksum)
        begin += len(data)
    return checksum


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that whoever reads it finds all of it or what was there before, also after a power failure."""
    anew = path.with_name(path.name + ".new")
    with open(anew, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(anew, path)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultsError(f"the run's record {path}: {error.strerror}") from None
