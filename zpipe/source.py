"""What a source gives to ingest, and what ingest gives to a source: the words of both, as protocols.

Nothing here reads, decodes or holds memory.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Room(Protocol):
    """Memory for one frame, a slot of the store or other. The last call counts: it holds encoded bytes or pixels."""

    def encoded(self, size_bytes: int) -> memoryview:
        """Writable room for an encoded file."""
        ...

    def pixels(self, height: int, width: int) -> "NDArray[np.uint8]":
        """Writable room for a decoded picture: (height, width, 3), BGR, C-contiguous."""
        ...


class SourceFrame(Protocol):
    """One frame of a stream, not read yet."""

    name: str
    """What its result is called: valid JSON text, unique in the stream unless a list file repeats itself."""

    def load(self, room: Room) -> None:
        """Reads it straight into `room`; `FrameError` when it cannot be read."""
        ...


class Source(Protocol):
    """The frames of one stream, always in the same order under the same numbers."""

    total: int | None
    """Frames to come; None when nobody knows."""
    total_is_exact: bool
    """False: a video's header promises so many."""
    skipped: int
    """Files of a directory that are no images or do not match its glob."""
    replayable: bool
    """`frames` may be called again and starts anew (files); False for what happens once (live)."""

    def frames(self, start: int = 1) -> Iterator[SourceFrame]:
        """The frames from number `start` on (1 is the first). Load a frame before asking for the next."""
        ...

    def names(self) -> Iterator[str] | None:
        """The names of all frames without reading any; None when only reading tells."""
        ...

    def close(self) -> None:
        """Lets go of files and decoders; harmless when repeated."""
        ...
