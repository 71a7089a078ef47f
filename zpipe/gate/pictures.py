"""What a sender sends as a picture: the same limits as for a file, and into its slot. Nothing is decoded here."""

from zpipe import upload
from zpipe.errors import FrameError
from zpipe.images.headers import LARGE_BYTES, START_BYTES, refuse_above, refuse_in_vain, refuse_too_long
from zpipe.source import Room


class SentFrame:
    """A frame as it came: a `SourceFrame`, loaded as those of other sources are."""

    __slots__ = ("_max_pixels", "_message", "_picture", "name")

    def __init__(self, message: upload.NewFrame | upload.Failed, picture: memoryview | None, max_pixels: int) -> None:
        self.name = message.name
        self._message = message
        self._picture = picture
        self._max_pixels = max_pixels

    def load(self, room: Room) -> None:
        """Copy it into the room; FrameError if it is none, or too large."""
        if isinstance(self._message, upload.Failed):
            raise FrameError(self._message.reason)
        data = self._picture if self._picture is not None else memoryview(b"")
        if not len(data):
            raise FrameError("the picture is empty")
        height, width = self._message.height, self._message.width
        if height or width:
            _load_pixels(data, height, width, room, self._max_pixels)
        else:
            _load_encoded(data, room, self._max_pixels)


def _load_pixels(data: memoryview, height: int, width: int, room: Room, max_pixels: int) -> None:
    refuse_above(max_pixels, width, height)
    if len(data) != height * width * 3:
        raise FrameError(f"{len(data):,} bytes of pixels, {width}×{height} has {height * width * 3:,}")
    room.pixels(height, width).reshape(-1).data[:] = data


def _load_encoded(data: memoryview, room: Room, max_pixels: int) -> None:
    refuse_too_long(len(data), max_pixels)
    if len(data) > LARGE_BYTES:
        refuse_in_vain(data[:START_BYTES], len(data), max_pixels)
    with room.encoded(len(data)) as memory:
        memory[:] = data
