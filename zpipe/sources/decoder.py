"""The decoder of a video: owns OpenCV's capture and knows the number of the frame that it stands at.

Numbers count decoded frames, from 1. Going on far in the video is fast (`seek`) where the container's own timestamps
prove where the seek has led; else by decoding (`skip_to`), which is always exact. Nothing here names frames or knows
which of them are wanted.

OpenCV's own position is computed from the average rate: of a video of variable rate it is wrong. So the packets are
listed first, without decoding (`index.py`); a seek leads to a key frame well before the number wanted, and from there
on the timestamps of the frames that come must be those of the list, one by one.
"""

from zpipe.source import Beat
from zpipe.sources.capture import open_capture
from zpipe.sources.index import Index, read_index

SEEK_ABOVE = 250
"""Frames before it are decoded, in a second or two; listing packets and decoding from a key frame takes as long."""

MARGIN = 32
"""Least frames that are decoded between the key frame of a seek and the frame wanted: time to compare timestamps, and
for what was decoded with pictures from before the key frame (open groups of pictures) to have passed."""

OPENCV_BACK = 16
"""Frames that OpenCV goes back further than it is asked to, and decodes (`CvCapture_FFMPEG::seek`, its `delta`)."""


class Decoder:
    """One video, opened; `is_open` says whether it can be decoded at all. `path` is absolute."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.capture = open_capture(path)
        self.number = 0
        """Of the frame that was grabbed last."""
        self.time_ms = 0.0
        """When that is shown, from the beginning of the video; OpenCV forgets it at the end."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; 0 when it is not open."""
        import cv2

        return int(self.capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self.capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    @property
    def promised(self) -> int:
        """How many frames the header speaks of; not above 0 when it does not."""
        import cv2

        return int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))

    @property
    def rate(self) -> float:
        """Average frames per second; 0 when it is not known."""
        import cv2

        return max(0.0, float(self.capture.get(cv2.CAP_PROP_FPS)))

    @property
    def is_open(self) -> bool:
        """Whether there is a video to decode."""
        return self.capture.isOpened() and min(self.size) > 0

    def grab(self) -> bool:
        """Decode the next frame; False at the end of what can be decoded."""
        if not self._grab():
            return False
        self.number += 1
        return True

    def skip_to(self, number: int, beat: Beat) -> bool:
        """Decode and pass over what comes before frame `number`; False if the video ends before."""
        while self.number < number - 1:
            beat()
            if not self.grab():
                return False
        return True

    def seek(self, number: int, beat: Beat, after: int = 0) -> bool:
        """Stand before frame `number` without decoding all before it, nor frame `after`; False if that fails.

        Then the decoder stands at the beginning again.
        """
        if number <= SEEK_ABOVE:
            return False
        index = read_index(self._path, beat, number)
        key = index.key_before(number - MARGIN) if index else 0
        if index is None or not key or (after and index.key_before(key - OPENCV_BACK - 2) <= after + index.delay):
            return False
        if self._first_is(index) and self._set(index.times_ms[key - 1]) and self._follow(index, number, beat):
            return True
        self._rewind()
        return False

    def jump_over(self, number: int, beat: Beat) -> bool:
        """Go on behind frame `number` without decoding it, at the nearest frame that can be reached; False if none.

        What lies between is lost: OpenCV's FFmpeg decodes all from a key frame on, and 16 frames more than it should.
        """
        index = read_index(self._path, beat)
        if index is None or number <= 1 + index.delay or not self._first_is(index):
            return False
        key = index.key_from(number + index.delay + 1)
        if not key or not self._set(index.times_ms[key - 1] + 1000 * (OPENCV_BACK + 1) / self.rate):
            return False
        self.number = index.number_at(self.time_ms)
        return self.number > number

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        self.capture.release()

    def _first_is(self, index: Index) -> bool:
        """Whether the first packet is the first frame; OpenCV decodes it before a seek in any case."""
        return self.number > 0 or (self.grab() and index.number_at(self.time_ms) == 1)

    def _set(self, time_ms: float) -> bool:
        import cv2

        return self.capture.set(cv2.CAP_PROP_POS_MSEC, time_ms) and self._grab()

    def _follow(self, index: Index, number: int, beat: Beat) -> bool:
        """Decode from where a seek has led up to before `number`; False when what comes is not what is listed."""
        self.number = index.number_at(self.time_ms)
        if not 0 < self.number <= number - OPENCV_BACK:
            return False
        while self.number < number - 1:
            beat()
            if not self.grab() or index.number_at(self.time_ms) != self.number:
                return False
        return True

    def _grab(self) -> bool:
        import cv2

        if not self.capture.grab():
            return False
        self.time_ms = float(self.capture.get(cv2.CAP_PROP_POS_MSEC))
        return True

    def _rewind(self) -> None:
        self.capture.release()
        self.capture = open_capture(self._path)
        self.number = 0
