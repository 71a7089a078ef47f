"""The pictures that `zpipe send` sends: those of several paths, one after the other, as the frames of one stream."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from zpipe.config.keys import FramesConfig, IngestConfig
from zpipe.draw.results import picture_of
from zpipe.errors import FrameError
from zpipe.pixels import Pixels
from zpipe.sender.frames import Parcel, frame_of_pixels
from zpipe.source import Source, SourceFrame
from zpipe.sources.listing import take_listing
from zpipe.sources.opening import open_source
from zpipe.sources.room import Memory

MAX_PIXELS = FramesConfig().max_pixels
"""What is larger no pipeline takes, unless it was told to."""


class Shipment:
    """All pictures of the paths. `every`: of videos, only every so many frames; ConfigError for what is no source."""

    def __init__(self, paths: Sequence[str], every: int = 1) -> None:
        self._entries = [IngestConfig(path=path, every=every) for path in paths]
        self._sources: list[Source] = [open_source(entry, MAX_PIXELS) for entry in self._entries]
        self._every = every
        totals = [source.total for source in self._sources]
        self.total = None if None in totals else sum(total or 0 for total in totals)
        """How many there are, where the sources say so."""

    def upload_id(self, name: str, jpeg: int | None) -> str:
        """Of the sender's name and the list of pictures: names, sizes, times of change; so another list is another
        upload, and the same list sent again is the same one."""
        seen = hashlib.sha256(msgspec.msgpack.encode([name, self._every, jpeg]))
        for entry, source in zip(self._entries, self._sources, strict=True):
            listing = take_listing(entry, source)
            listing.folder = ""
            seen.update(msgspec.msgpack.encode(listing))
        return seen.hexdigest()[:40]

    def frames(self, start: int = 1) -> Iterator[SourceFrame]:
        """From number `start` on; load each before asking for the next."""
        before = 0
        for source in self._sources:
            if source.total is not None and source.total_is_exact and before + source.total < start:
                before += source.total
                continue
            if before >= start - 1:
                yield from source.frames()
            elif source is self._sources[-1] or source.total_is_exact:
                yield from source.frames(start - before)
                before += source.total or 0
            else:  # nobody knows how many it has: they are counted
                for frame in source.frames():
                    before += 1
                    if before >= start:
                        yield frame

    def pictures(self) -> "PicturesAgain":
        """To find the picture of a result again."""
        return PicturesAgain(self)

    def close(self) -> None:
        """Let go of files and decoders."""
        for source in self._sources:
            source.close()


class PicturesAgain:
    """The pictures again, in the order of results."""

    def __init__(self, shipment: Shipment) -> None:
        self._shipment = shipment
        self._frames: Iterator[SourceFrame] | None = None
        self._next = 0

    def find(self, result: dict[str, Any]) -> Pixels | None:
        """The picture of a result; FrameError if it is broken."""
        if self._frames is None:
            self._next = int(result["seq"])
            self._frames = self._shipment.frames(self._next)
        while (frame := next(self._frames, None)) is not None:
            self._next += 1
            if self._next > result["seq"]:
                return picture_of(frame)
        return None


def load(frame: SourceFrame, jpeg: int | None) -> Parcel:
    """A source's frame as it is sent: a file as it is, a video's frame as pixels or JPEG; or why there is none."""
    room = Memory()
    try:
        frame.load(room)
        pixels = room.decoded
        return Parcel(frame.name, bytes(room.file)) if pixels is None else frame_of_pixels(pixels, frame.name, jpeg)
    except FrameError as error:
        return Parcel(frame.name, b"", reason=str(error))
