"""One stream as ingest reads it: its source, opened when it is needed, and the number of its next frame.

Nothing here waits, sends, or takes memory for a frame.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from zpipe.errors import ZpipeError
from zpipe.orders import Reading
from zpipe.source import Source, SourceFrame
from zpipe.stages.closing import let_go
from zpipe.transport.board import Heart

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opening:
    """How a source is opened; `check` is cheap and raises what is plain to see already."""

    check: Callable[[], object]
    open: Callable[[], Source]


class StreamReading:
    """A stream called `name`, as the order to read it says. `next_frame` needs it to be open."""

    def __init__(self, reading: Reading, name: str, opening: Opening, heart: Heart) -> None:
        self.number, self.seq, self.name = reading.stream, reading.start, name
        self.condemned = {frame.seq: frame.reason for frame in reading.condemned}
        self.source: Source | None = None
        self._opening = opening
        self._heart = heart
        self._frames: Iterator[SourceFrame] = iter(())

    def check(self) -> None:
        """ZpipeError, with the stream's name, if it is plain that the source cannot be opened."""
        if self.source is None:
            self._named(self._opening.check)

    def open(self) -> None:
        """Open the source; ZpipeError, with the stream's name, if it cannot be."""
        self.source = self._named(self._opening.open)
        self._frames = self.source.frames(self.seq, self.begin, self.condemned)

    def begin(self) -> None:
        """Work on the next frame begins. Said again for each that is passed over: that is no time on this one."""
        self._heart.begin(self.number, self.seq)

    def next_frame(self) -> SourceFrame | None:
        """The next frame, not read yet; None at the end."""
        self.begin()
        return next(self._frames, None)

    def close(self) -> int:
        """Let go of the source, say what is to be said of it; how many things in it were no frames."""
        if self.source is None:
            return 0
        source, self.source = self.source, None
        if source.note:
            log.warning("source.note stream=%s %s", self.name, source.note)
        skipped = source.skipped
        let_go(source)
        return skipped

    def _named(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except ZpipeError as error:
            error.args = (f"stream {self.name}: {error}",)
            raise
