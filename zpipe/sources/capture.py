"""How zpipe opens a video with OpenCV's FFmpeg: one thread, silent, nothing from the network."""

import os
from typing import TYPE_CHECKING

from zpipe.images import opencv

if TYPE_CHECKING:
    import cv2


def open_capture(path: str, *, decoding: bool = True) -> "cv2.VideoCapture":
    """The video, perhaps not opened (`isOpened`). Without `decoding`, what is grabbed are its packets as they are.

    `path` must be absolute: so it is never taken for a protocol, whatever colons it has.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # or FFmpeg complains of each damaged macroblock
    import cv2

    opencv.limit_threads()
    # A playlist that calls itself .mp4 must not make FFmpeg fetch what it names from the network.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")
    # Each further thread of a decoder costs memory, and cores that the models need.
    options = [cv2.CAP_PROP_N_THREADS, 1] if decoding else [cv2.CAP_PROP_FORMAT, -1]
    with opencv.capture_stderr():
        return cv2.VideoCapture(path, cv2.CAP_FFMPEG, options)
