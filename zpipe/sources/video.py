"""The frames of a video file: all, or every K-th; decoded here, straight into the frame's room.

A video that cannot be opened is one failed frame, and so is one without any frame: its stream shall say why
it is empty. One that breaks off ends there, and its `note` says how many frames were promised.

A frame that must not be decoded, since it kills whoever tries, cannot be left out alone: the frames behind it build
on it, and OpenCV goes on only some way behind the next key frame. What lies between fails with it; where no key frame
comes any more, the stream ends at it.
"""

import os
from collections.abc import Collection, Iterator

from zpipe.config.keys import IngestConfig
from zpipe.errors import FrameError
from zpipe.images.headers import refuse_above
from zpipe.source import Beat, Room, SourceFrame, do_nothing
from zpipe.sources.decoder import Decoder
from zpipe.sources.files import printable

VIDEO_SUFFIXES = frozenset(
    [
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv"),
        *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".mxf", ".ogv", ".y4m", ".mjpeg", ".mjpg"),
        *(".h264", ".264", ".f4v", ".h265", ".265", ".hevc"),
    ]
)


def open_video(config: IngestConfig, max_pixels: int) -> "VideoSource":
    """The video at `config.path`."""
    return VideoSource(config.path, config.every, max_pixels)


class VideoSource:
    """Frames 1, 1 + every, 1 + 2 · every, … of a video, named `<file>#<number in the video>`."""

    skipped = 0
    replayable = True

    def __init__(self, path: str, every: int, max_pixels: int) -> None:
        self._path = os.path.abspath(path)  # never taken for a protocol, whatever colons it has
        self._file_name = printable(os.path.basename(self._path))
        self._every = every
        self._max_pixels = max_pixels
        self._decoder: Decoder | None = None
        self._reason = self._open()
        self._promised = self._decoder.promised if self._decoder else 1
        self.rate = self._decoder.rate / every if self._decoder else 0.0
        self.total: int | None = -(-self._promised // every) if self._promised > 0 else None
        self.total_is_exact = self._decoder is None
        self.note = ""

    def frames(self, start: int = 1, beat: Beat = do_nothing, avoid: Collection[int] = ()) -> Iterator[SourceFrame]:
        """The frames from number `start` on, by a seek where that is exact, else by decoding those before it."""
        self.note = ""
        if self._decoder is None:
            self._reason = self._open()
        decoder, self._decoder = self._decoder, None
        if decoder is None:
            if start == 1:
                yield FailedFrame(self._name(1), self._reason)
            return
        try:
            yield from self._read(decoder, self._number(start), beat, {self._number(seq) for seq in avoid})
        finally:
            decoder.close()

    def _read(self, decoder: Decoder, number: int, beat: Beat, barred: set[int]) -> Iterator[SourceFrame]:
        if not self._begin(decoder, number, beat, barred):
            return
        while True:
            if number <= decoder.number:
                yield FailedFrame(self._name(number), "cannot be decoded without a frame that must not be decoded")
            elif number in barred:
                yield FailedFrame(self._name(number), "must not be decoded")
                if not self._jump(decoder, number, beat):
                    return
            elif decoder.skip_to(number, beat) and decoder.grab():
                yield VideoFrame(self._name(number), decoder, self._max_pixels)
            else:
                break
            number += self._every
        if number == 1:
            yield FailedFrame(self._name(1), "no frame of the video can be decoded")
        self._compare(decoder)

    def _begin(self, decoder: Decoder, number: int, beat: Beat, barred: set[int]) -> bool:
        """Go as near to frame `number` as seeking leads; False where only a barred frame leads there."""
        last = max((one for one in barred if one < number), default=0)
        if number in barred or decoder.seek(number, beat, last):
            return True
        return not last or self._jump(decoder, last, beat)

    def _jump(self, decoder: Decoder, barred: int, beat: Beat) -> bool:
        if decoder.jump_over(barred, beat):
            return True
        self.note = f"video {self._file_name} ends at frame {barred}: what is behind it cannot be decoded without it"
        return False

    def _compare(self, decoder: Decoder) -> None:
        """Say so when there was less than promised. Some headers promise a duration only, hence the time."""
        missing_s = self._promised / decoder.rate - decoder.time_ms / 1000 if decoder.rate else 0
        if self._promised > decoder.number and missing_s * decoder.rate > 2:
            self.note = f"video {self._file_name} promised {self._promised} frames, {decoder.number} could be decoded"

    def names(self) -> None:
        """Only decoding tells how many there are."""

    def close(self) -> None:
        """Lets go of the decoder."""
        if self._decoder:
            self._decoder.close()
            self._decoder = None

    def _number(self, seq: int) -> int:
        """In the video, of a frame of the stream."""
        return (seq - 1) * self._every + 1

    def _name(self, number: int) -> str:
        return f"{self._file_name}#{number}"

    def _open(self) -> str:
        """Opens the video; the reason why not, else nothing."""
        try:
            if os.path.getsize(self._path) == 0:
                return "the file is empty"
            with open(self._path, "rb"):
                pass
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        decoder = Decoder(self._path)
        if not decoder.is_open:
            return "cannot be opened: no video, incomplete, or of a kind that OpenCV's FFmpeg does not know"
        try:
            refuse_above(self._max_pixels, *decoder.size)
        except FrameError as error:
            return str(error)
        self._decoder = decoder
        return ""


class VideoFrame:
    """The frame that the decoder stands at."""

    __slots__ = ("_decoder", "_max_pixels", "name")

    def __init__(self, name: str, decoder: Decoder, max_pixels: int) -> None:
        self.name = name
        self._decoder = decoder
        self._max_pixels = max_pixels

    def load(self, room: Room) -> None:
        """Converts it to BGR in the room's memory."""
        import numpy as np

        width, height = self._decoder.size
        if width <= 0 or height <= 0:
            raise FrameError("the video is closed")
        memory = room.pixels(height, width)
        is_there, picture = self._decoder.capture.retrieve(memory)
        if not is_there:
            raise FrameError("the frame cannot be decoded")
        if np.may_share_memory(picture, memory):
            return
        # OpenCV turns videos of phones upright in memory of its own; and some change their size on the way.
        height, width = picture.shape[:2]
        refuse_above(self._max_pixels, width, height)
        np.copyto(memory if picture.shape == memory.shape else room.pixels(height, width), picture)


class FailedFrame:
    """Stands for a video without frames: says why."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self._reason = reason

    def load(self, room: Room) -> None:
        """There is nothing to load."""
        raise FrameError(self._reason)
