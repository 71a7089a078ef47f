"""Image files as frames: what one image, a directory and a list file have in common."""

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from zpipe.errors import FrameError
from zpipe.source import Beat, Room, do_nothing

IMAGE_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".tif", ".tiff", ".webp"),
        *(".avif", ".bmp", ".dib", ".pbm", ".pgm", ".ppm", ".pnm"),
        # Not decoded, but a person calls them images: a failed frame that says so, not a silent omission.
        *(".heic", ".heif", ".jp2", ".j2k", ".jxl", ".ico", ".cur"),
    ]
)


def printable(name: str) -> str:
    """A file name as valid text: what is no UTF-8 becomes `\\xNN`, so different names stay different."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class FileFrame:
    """One image file, read as it is; decoding is the detect worker's."""

    __slots__ = ("_most_bytes", "_path", "name")

    def __init__(self, name: str, path: str, most_bytes: int) -> None:
        self.name = name
        self._path = path
        self._most_bytes = most_bytes

    def load(self, room: Room) -> None:
        """Reads the file into `room` without a copy in between."""
        try:
            # Not blocking: somebody's FIFO named x.jpg would hold up the whole stream.
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                self._read(file, room)
            finally:
                os.close(file)
        except (OSError, ValueError) as error:  # ValueError: a NUL in a name from a list file
            raise FrameError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error

    def _read(self, file: int, room: Room) -> None:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise FrameError("is a directory" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
        size_bytes = status.st_size
        if size_bytes == 0:
            raise FrameError("the file is empty")
        if size_bytes > self._most_bytes:
            raise FrameError(
                f"a file of {size_bytes / 1e6:,.0f} MB; a picture within frames.max_pixels has at most"
                f" {self._most_bytes / 1e6:,.0f} MB"
            )
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
    note = ""

    def __init__(self, folder: str, files: Sequence[str], max_pixels: int, skipped: int = 0) -> None:
        """`files`: paths as the file system has them, relative to `folder` or absolute."""
        self._folder = folder
        self._files = files
        self.total: int | None = len(files)
        self.skipped = skipped
        # Uncompressed, four samples of 16 bits a pixel; and 16 MiB for metadata. Nothing sensible is larger.
        self._most_bytes = 8 * max_pixels + (16 << 20)

    def frames(self, start: int = 1, beat: Beat = do_nothing, avoid: Collection[int] = ()) -> Iterator[FileFrame]:
        """The files from number `start` on. None is read on the way to another."""
        for file in islice(self._files, start - 1, None):
            yield FileFrame(printable(file), os.path.join(self._folder, file), self._most_bytes)

    def names(self) -> Iterator[str]:
        """The names of all frames."""
        return map(printable, self._files)

    def close(self) -> None:
        """Nothing is open between frames."""
