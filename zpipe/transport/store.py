"""The store of frames in flight: owns the shared memory that their pictures live in.

A slot is one file in the run folder: the frame as it was read (encoded bytes, none for video), then, from the
next page on, its pixels. What a slot holds is told from process to process by a `Picture`, which only this file makes
and reads. Ingest writes the first part, the detect worker the second (a video's is written by
ingest), everybody reads the same memory. The ledger decides who may touch a slot, so nothing is locked here.

Slots keep their memory from frame to frame: mapping and clearing 6 MB anew for each 1080p frame costs more
than sending it. One that has grown far beyond what is needed now (a 100 megapixel image among small ones) is cut.

Where memory is short, idle slots are cut, and who needs some waits. So that nobody waits for memory who holds some that
another waits for, ingest then takes all that a frame will need at once, its pixels' too.
"""

import errno
import mmap
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from zpipe.errors import FrameError, ZpipeError
from zpipe.messages import Resolution
from zpipe.wire import Picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGE = mmap.PAGESIZE
KEEP_BYTES = 64 << 20
"""A slot up to this size is never cut: a 20 megapixel picture fits, and 16 of them are 1 GiB."""

PLENTY_BYTES = 2 << 30
"""With so much free memory a dozen of the largest photos fit, and nobody need ask how large the next one is."""


SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  the kernel's own tmpfs
"""Where run folders are (run_folder.py): sockets and slots alike may live there."""


class StoreFull(FrameError):
    """There is no memory for a frame that needs so much, until others give some back."""

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(
            f"no shared memory for a frame of {needed_bytes / 1e6:.1f} MB in {SHARED_MEMORY}; make it larger (in Docker"
            " with --shm-size) or lower frames.in_flight"
        )
        self.needed_bytes = needed_bytes


class NeverFits(ZpipeError):
    """A frame that needs more memory than there is in all: no use in waiting, the run stops."""


class Store:
    """All slots of a run, in `folder`; each process has its own `Store` over the same files."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = os.fspath(folder)
        self._slots: dict[int, Slot] = {}

    def empty(self, number: int) -> "Slot":
        """The slot with this number, to be filled with another frame."""
        return self.open(Picture(number))

    def open(self, picture: Picture) -> "Slot":
        """The slot that holds this picture."""
        slot = self._slots.get(picture.slot)
        if slot is None:
            slot = self._slots[picture.slot] = Slot(picture.slot, f"{self._folder}/slot-{picture.slot}")
        slot.encoded_bytes = picture.encoded_bytes
        slot.pixels_shape = None
        return slot

    @property
    def free_bytes(self) -> int:
        """Memory that is left for whoever takes it."""
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize

    def cut(self, idle: Collection[int]) -> None:
        """Give back the memory of slots that nobody uses."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                _, is_slot, number = entry.name.partition("slot-")
                if is_slot and int(number) in idle and entry.stat().st_size:
                    os.truncate(entry.path, 0)

    def total_bytes(self) -> int:
        """Memory of all slots of the run."""
        with os.scandir(self._folder) as entries:
            return sum(entry.stat().st_size for entry in entries if entry.name.startswith("slot-"))

    def close(self) -> None:
        """Unmap everything; closing twice is harmless."""
        for slot in self._slots.values():
            slot.close()
        self._slots.clear()


class Slot:
    """The memory of one frame."""

    def __init__(self, number: int, path: str) -> None:
        self.number = number
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._map: mmap.mmap | None = None
        self._mapped_bytes = 0
        self.encoded_bytes: int | None = None
        """Of the frame as it was read; None if that was pixels (a video's)."""
        self.pixels_shape: tuple[int, int] | None = None
        """(height, width) once `pixels` was called for the frame that the slot holds now."""

    @property
    def picture(self) -> Picture:
        """What it holds, for other processes."""
        return Picture(self.number, self.encoded_bytes)

    def encoded(self, size_bytes: int) -> memoryview:
        """Writable room for the encoded frame; what the slot held before is gone."""
        self.encoded_bytes = size_bytes
        self._reserve(max(1, size_bytes))
        return memoryview(self._mapping(size_bytes))[:size_bytes]

    def read_encoded(self) -> memoryview:
        """The encoded frame; only where there is one."""
        assert self.encoded_bytes is not None
        return memoryview(self._mapping(self.encoded_bytes))[: self.encoded_bytes]

    def pixels(self, height: int, width: int) -> "NDArray[np.uint8]":
        """Writable room for the decoded frame: uint8 (height, width, 3), BGR. Only the frame's holder may ask."""
        self._reserve(self._pixels_at + height * width * 3)
        self.pixels_shape = height, width
        return self.read_pixels(height, width)

    def reserve_pixels(self, height: int, width: int) -> None:
        """Take the memory that `pixels` will need, so that whoever decodes the frame does not wait for it."""
        self._reserve(self._pixels_at + height * width * 3)

    def read_pixels(self, height: int, width: int) -> "NDArray[np.uint8]":
        """The decoded frame as an earlier stage left it."""
        import numpy as np  # not needed by all who import this module, and a tenth of a second

        size_bytes = height * width * 3
        memory = self._mapping(self._pixels_at + size_bytes)
        return np.frombuffer(memory, np.uint8, size_bytes, self._pixels_at).reshape(height, width, 3)

    def content(self, size: Resolution | None) -> "memoryview | NDArray[np.uint8] | None":
        """What it holds: the encoded frame; else pixels, if their size is known; None: it was never read."""
        if self.encoded_bytes is not None:
            return self.read_encoded()
        return None if size is None else self.read_pixels(size.height, size.width)

    def close(self) -> None:
        """Let go of the file; arrays that still look at the memory keep it mapped until they go."""
        self._map = None
        os.close(self._file)

    @property
    def _pixels_at(self) -> int:
        return -(-(self.encoded_bytes or 0) // PAGE) * PAGE

    def _reserve(self, size_bytes: int) -> None:
        """Make the file large enough. Really allocated: a hole in a full tmpfs is a SIGBUS at the first touch."""
        size_bytes = -(-size_bytes // PAGE) * PAGE
        has_bytes = os.lseek(self._file, 0, os.SEEK_END)  # a third of what `fstat` takes, twice a frame
        if has_bytes > max(KEEP_BYTES, 2 * size_bytes):
            os.ftruncate(self._file, size_bytes)
        elif has_bytes < size_bytes:
            try:
                os.posix_fallocate(self._file, 0, size_bytes)
            except OSError as error:
                self._refuse(size_bytes, error)

    def _refuse(self, size_bytes: int, error: OSError) -> NoReturn:
        if error.errno != errno.ENOSPC:
            raise FrameError(
                f"no shared memory for a frame of {size_bytes / 1e6:.1f} MB in {SHARED_MEMORY}: {error.strerror}; "
                "make it larger or lower frames.in_flight"
            )
        status = os.fstatvfs(self._file)
        has_bytes = status.f_blocks * status.f_frsize
        if size_bytes > has_bytes:
            needed, total = f"{size_bytes / 1e6:.1f} MB", f"{has_bytes / 1e6:.1f} MB"
            raise NeverFits(
                f"a frame needs {needed} of shared memory, and {SHARED_MEMORY} has {total} in all: make it larger than "
                f"the {needed} (in Docker with --shm-size)"
            )
        raise StoreFull(size_bytes)

    def _mapping(self, size_bytes: int) -> mmap.mmap:
        if self._map is None or self._mapped_bytes < size_bytes:
            self._mapped_bytes = os.fstat(self._file).st_size
            if self._mapped_bytes < size_bytes:
                raise FrameError(f"its slot holds {self._mapped_bytes} bytes instead of {size_bytes}")
            self._map = mmap.mmap(self._file, self._mapped_bytes)
        return self._map
