"""Image files as frames: what one image, a directory and a list file have in common."""

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from zpipe.errors import FrameError
from zpipe.images.headers import LARGE_BYTES, START_BYTES, refuse_in_vain, refuse_too_long
from zpipe.source import Beat, Room, do_nothing

IMAGE_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".tif", ".tiff", ".webp"),
        *(".avif", ".bmp", ".dib", ".pbm", ".pgm", ".ppm", ".pnm"),
        # Not decoded, but a person calls them images: a failed frame that says so, not a silent omission.
        *(".heic", ".heif", ".jp2", ".j2k", ".jxl", ".ico", ".cur"),
    ]
)

MOST_PATH_BYTES = 4096
"""Linux's PATH_MAX. What is longer is no path, and opening it says so."""


def printable(name: str) -> str:
    """A file name as valid text: what is no UTF-8 becomes `\\xNN`, so different names stay different.

    What is too long for a path, as a list file without line ends, is shortened: names travel with each message.
    """
    encoded = os.fsencode(name)
    text = encoded[:MOST_PATH_BYTES].decode("utf-8", "backslashreplace")
    return text if len(encoded) <= MOST_PATH_BYTES else f"{text[:100]}… ({len(encoded):,} bytes)"


class FileFrame:
    """One image file, read as it is; decoding is the detect worker's. `seen`: its size and time when it was listed."""

    __slots__ = ("_max_pixels", "_path", "_seen", "name")

    def __init__(self, name: str, path: str, max_pixels: int, seen: tuple[int, int] | None = None) -> None:
        self.name = name
        self._path = path
        self._max_pixels = max_pixels
        self._seen = seen

    def load(self, room: Room) -> None:
        """Reads the file into `room` without a copy in between."""
        try:
            # Not blocking: somebody's FIFO named x.jpg would hold up the whole stream.
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                self._read(file, room)
            finally:
                os.close(file)
        except FileNotFoundError as error:
            was_there = self._seen is not None and self._seen[0] >= 0
            reason = "is gone: it was there when the run began" if was_there else f"cannot be read: {error.strerror}"
            raise FrameError(reason) from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in a name from a list file
            raise FrameError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error

    def _read(self, file: int, room: Room) -> None:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise FrameError("is a directory" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
        size_bytes = status.st_size
        if self._seen is not None and self._seen[0] >= 0 and self._seen != (size_bytes, status.st_mtime_ns):
            raise FrameError(f"has changed since the run began: had {self._seen[0]:,} bytes, has {size_bytes:,}")
        if size_bytes == 0:
            raise FrameError("the file is empty")
        refuse_too_long(size_bytes, self._max_pixels)
        if size_bytes > LARGE_BYTES:
            refuse_in_vain(memoryview(os.pread(file, START_BYTES, 0)), size_bytes, self._max_pixels)
        with room.encoded(size_bytes) as memory:
            has_bytes = 0
            while has_bytes < size_bytes:
                got_bytes = os.readv(file, [memory[has_bytes:]])
                if got_bytes == 0:
                    raise FrameError(f"became shorter while it was read: {has_bytes} of {size_bytes} bytes")
                has_bytes += got_bytes


class FileSource:
    """Image files in a fixed order, below one folder."""

    total_is_exact = True
    replayable = True
    rate = 0.0

    def __init__(
        self, folder: str, files: Sequence[str], max_pixels: int, skipped: int = 0, note: str = "",
        seen: Sequence[tuple[int, int]] | None = None,
    ) -> None:  # fmt: skip
        """`files`: paths as the file system has them, relative to `folder` or absolute. `seen`: their sizes and times
        of change when they were listed (`listing.py`); they must still have them."""
        self.folder = folder
        self.files = files
        self._seen = seen
        self.total: int | None = len(files)
        self.skipped = skipped
        self.note = note
        self._max_pixels = max_pixels

    def frames(self, start: int = 1, beat: Beat = do_nothing, avoid: Collection[int] = ()) -> Iterator[FileFrame]:
        """The files from number `start` on. None is read on the way to another."""
        for number, file in enumerate(islice(self.files, start - 1, None), start - 1):
            seen = self._seen[number] if self._seen else None
            yield FileFrame(printable(file), os.path.join(self.folder, file), self._max_pixels, seen)

    def names(self) -> Iterator[str]:
        """The names of all frames."""
        return map(printable, self.files)

    def close(self) -> None:
        """Nothing is open between frames."""
