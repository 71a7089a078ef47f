"""The list of a source: its frames as they were when they were listed first; a source that is opened from it again.

The list is part of the run. Whoever reads the source later, after a crash or with `--resume`, reads what is on the
list: so a frame keeps its number, whatever becomes of the folder. What is gone or was changed since is a failed frame
that says so. Nothing here decides where a list is kept.
"""

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from zpipe.config.keys import IngestConfig
from zpipe.errors import UNDECODABLE, ResultsError
from zpipe.source import Beat, Source, SourceFrame, do_nothing
from zpipe.sources.files import FileSource, printable
from zpipe.sources.opening import kind_of, open_source
from zpipe.sources.video import FailedFrame

ENDS_BYTES = 1 << 20
"""Of a video so much at its head and at its tail tells it from another one."""

UNSEEN = (-1, 0)
"""Size and time of what could not be looked at when it was listed: reading it says why."""


class Listing(msgspec.Struct, array_like=True):
    """Paths as the file system has them, relative to `folder`; their sizes and times of change, in the same order.

    Of a video one path, and a `digest` of both its ends.
    """

    folder: str
    files: list[bytes]
    sizes: list[int]
    times_ns: list[int]
    skipped: int = 0
    note: str = ""
    digest: bytes = b""

    def names(self) -> Iterator[str]:
        """What the frames are called (a video's frames are numbered)."""
        return (printable(os.fsdecode(file)) for file in self.files)


def check_listed(config: IngestConfig, kept: Path) -> None:
    """ConfigError if there is no list yet and nothing that could be listed; cheap, opens nothing."""
    if not kept.exists():
        kind_of(config.path)


def open_listed(config: IngestConfig, max_pixels: int, kept: Path) -> Source:
    """The source as the list in the file `kept` has it; who comes first lists it, and keeps the list there."""
    if not kept.exists():
        source = open_source(config, max_pixels)
        listing = take_listing(config, source)
        anew = kept.with_name(kept.name + ".new")
        anew.write_bytes(msgspec.msgpack.encode(listing))
        os.replace(anew, kept)
        return source if listing.digest else open_from(config, max_pixels, listing)
    return open_from(config, max_pixels, read_listing(kept.read_bytes()))


def read_listing(data: bytes) -> Listing:
    """A list as it was kept; ResultsError if it is none."""
    try:
        return msgspec.msgpack.decode(data, type=Listing)
    except UNDECODABLE as error:
        raise ResultsError(f"the run's record has a list that cannot be read: {error}") from None


def take_listing(config: IngestConfig, source: Source) -> Listing:
    """The list of a source that was just opened."""
    if not isinstance(source, FileSource):
        folder, name = os.path.split(config.path)
        size, time_ns = look_at(config.path)
        return Listing(folder, [os.fsencode(name)], [size], [time_ns], digest=digest_of(config.path))
    seen = [look_at(os.path.join(source.folder, file)) for file in source.files]
    return Listing(
        source.folder, [os.fsencode(file) for file in source.files], [size for size, _ in seen], [at for _, at in seen],
        source.skipped, source.note,
    )  # fmt: skip


def open_from(config: IngestConfig, max_pixels: int, listing: Listing) -> Source:
    """The source that the list is of."""
    if not listing.digest:
        files = [os.fsdecode(file) for file in listing.files]
        seen = list(zip(listing.sizes, listing.times_ns, strict=True))
        return FileSource(listing.folder, files, max_pixels, listing.skipped, listing.note, seen)
    change = change_of_video(config.path, listing)
    return ChangedVideo(config, change) if change else open_source(config, max_pixels)


def look_at(path: str) -> tuple[int, int]:
    """Size and time of change of a file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in a name from a list file
        return UNSEEN
    return status.st_size, status.st_mtime_ns


def digest_of(path: str) -> bytes:
    """Of both ends of a file. Never empty."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            found.update(file.read(ENDS_BYTES))
            file.seek(max(0, os.fstat(file.fileno()).st_size - ENDS_BYTES))
            found.update(file.read(ENDS_BYTES))
    except OSError:
        return b"unread"
    return found.digest()


def change_of_video(path: str, listing: Listing) -> str:
    """What became of a video since it was listed; empty if it is the same."""
    if listing.digest == b"unread":
        return ""
    if not os.path.exists(path):
        return "is gone: it was there when the run began"
    if look_at(path)[0] != listing.sizes[0] or digest_of(path) != listing.digest:
        return "has changed since the run began: it is another video"
    return ""


class ChangedVideo:
    """Stands for a video that is not the one that the run began with: one failed frame, where it would go on."""

    skipped = 0
    replayable = True
    total: int | None = None
    total_is_exact = False
    rate = 0.0
    note = ""

    def __init__(self, config: IngestConfig, change: str) -> None:
        self._name = printable(os.path.basename(config.path))
        self._every = config.every
        self._change = change

    def frames(self, start: int = 1, beat: Beat = do_nothing, avoid: Collection[int] = ()) -> Iterator[SourceFrame]:
        """The one frame."""
        yield FailedFrame(f"{self._name}#{(start - 1) * self._every + 1}", self._change)

    def names(self) -> None:
        """Nobody knows."""

    def close(self) -> None:
        """Nothing is open."""
