"""The frames of a video file: all, or every K-th; decoded here, straight into the frame's room.

A video that cannot be opened is one failed frame, and so is one without any frame: its stream shall say why
it is empty. One that breaks off ends there. Frames are reached by decoding, never by inexact seeking.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from zpipe.config.keys import IngestConfig
from zpipe.errors import FrameError
from zpipe.images import opencv
from zpipe.images.headers import refuse_above
from zpipe.source import Room, SourceFrame
from zpipe.sources.files import printable

if TYPE_CHECKING:
    import cv2

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
        self._every = every
        self._max_pixels = max_pixels
        self._capture: cv2.VideoCapture | None = None
        self._reason = self._open()
        promised = _frame_count(self._capture) if self._capture else 1
        self.total: int | None = -(-promised // every) if promised > 0 else None
        self.total_is_exact = self._capture is None

    def frames(self, start: int = 1) -> Iterator[SourceFrame]:
        """The frames from number `start` on; those before it are decoded and passed over."""
        if self._capture is None:
            self._reason = self._open()
        capture, self._capture = self._capture, None
        if capture is None:
            if start == 1:
                yield FailedFrame(self._name(1), self._reason)
            return
        try:
            yield from self._read(capture, start)
        finally:
            capture.release()

    def _read(self, capture: "cv2.VideoCapture", start: int) -> Iterator[SourceFrame]:
        for _ in range((start - 1) * self._every):
            if not capture.grab():
                return
        number = (start - 1) * self._every + 1
        while capture.grab():
            yield VideoFrame(self._name(number), capture, self._max_pixels)
            for _ in range(self._every - 1):
                if not capture.grab():
                    return
            number += self._every
        if number == 1:
            yield FailedFrame(self._name(1), "no frame of the video can be decoded")

    def names(self) -> None:
        """Only decoding tells how many there are."""

    def close(self) -> None:
        """Lets go of the decoder."""
        if self._capture:
            self._capture.release()
            self._capture = None

    def _name(self, number: int) -> str:
        return f"{printable(os.path.basename(self._path))}#{number}"

    def _open(self) -> str:
        """Opens the video; the reason why not, else nothing."""
        try:
            if os.path.getsize(self._path) == 0:
                return "the file is empty"
            with open(self._path, "rb"):
                pass
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        capture = _capture(self._path)
        width, height = _frame_size(capture)
        if not capture.isOpened() or width <= 0 or height <= 0:
            return "cannot be opened: no video, incomplete, or of a kind that OpenCV's FFmpeg does not know"
        try:
            refuse_above(self._max_pixels, width, height)
        except FrameError as error:
            return str(error)
        self._capture = capture
        return ""


class VideoFrame:
    """The frame that the decoder stands at."""

    __slots__ = ("_capture", "_max_pixels", "name")

    def __init__(self, name: str, capture: "cv2.VideoCapture", max_pixels: int) -> None:
        self.name = name
        self._capture = capture
        self._max_pixels = max_pixels

    def load(self, room: Room) -> None:
        """Converts it to BGR in the room's memory."""
        import numpy as np

        width, height = _frame_size(self._capture)
        if width <= 0 or height <= 0:
            raise FrameError("the video is closed")
        memory = room.pixels(height, width)
        is_there, picture = self._capture.retrieve(memory)
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


def _frame_size(capture: "cv2.VideoCapture") -> tuple[int, int]:
    import cv2

    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def _frame_count(capture: "cv2.VideoCapture") -> int:
    import cv2

    return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))


def _capture(path: str) -> "cv2.VideoCapture":
    """A decoder of one thread; each further one costs memory, and cores that the models need."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # or FFmpeg complains of each damaged macroblock
    import cv2

    opencv.limit_threads()
    # A playlist that calls itself .mp4 must not make FFmpeg fetch what it names from the network.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")
    with opencv.captured_stderr():
        return cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
