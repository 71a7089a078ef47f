"""What a source gives to ingest, and what ingest gives to a source: the words of both, as protocols.

Nothing here reads, decodes or holds memory.
"""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Beat = Callable[[], object]
"""Is called for each frame that a source passes over, so that whoever waits can be told that it lives."""


def do_nothing() -> None:
    """The beat of those for whom nobody waits."""


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
    rate: float
    """Frames per second that it was made with, on average; 0 where nobody knows, as of image files."""
    note: str
    """What should be said of the source once its frames are through, else empty: less came than was promised, or
    nothing although there is something."""
    replayable: bool
    """`frames` may be called again and starts anew (files); False for what happens once (live)."""

    def frames(self, start: int = 1, beat: Beat = do_nothing, avoid: Collection[int] = ()) -> Iterator[SourceFrame]:
        """The frames from number `start` on (1 is the first). Load a frame before asking for the next.

        The frames of the numbers in `avoid` have killed whoever read them: what decodes on the way must not decode
        them; they come as frames that cannot be loaded, and so do others that cannot be had without them.
        """
        ...

    def names(self) -> Iterator[str] | None:
        """The names of all frames without reading any; None when only reading tells."""
        ...

    def close(self) -> None:
        """Lets go of files and decoders; harmless when repeated."""
        ...
