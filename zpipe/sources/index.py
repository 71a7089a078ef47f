"""What a video's container says of its frames, read without decoding any: when each is shown, which are key frames.

There is an index only where it can be trusted to name frames: one timestamp for each packet, no two the same. Where
that is not so (raw streams, some AVI files, VP8 with its frames that are never shown) only decoding tells.
"""

from bisect import bisect_left, bisect_right

from zpipe.source import Beat
from zpipe.sources.capture import open_capture

MOST_DELAY = 16
"""Frames that a decoder may have to see before the first of them can be shown: H.264's and HEVC's largest buffer."""

NEVER_SHOWN = ("VP80",)
"""Codecs (FOURCC) with packets that are no frame of their own."""


class Index:
    """The frames of a video, or its first ones, in the order in which they are shown; numbers count from 1."""

    def __init__(self, times_ms: list[float], keys_ms: list[float]) -> None:
        self.times_ms = sorted(times_ms)
        self._keys = [bisect_left(self.times_ms, time_ms) + 1 for time_ms in sorted(keys_ms)]
        self.delay = 0 if len(keys_ms) == len(times_ms) else MOST_DELAY
        """How many frames further a decoder may be than the frame that it shows."""

    def number_at(self, time_ms: float) -> int:
        """The frame that is shown at that time, exactly; 0 if none is."""
        at = bisect_left(self.times_ms, time_ms)
        return at + 1 if at < len(self.times_ms) and self.times_ms[at] == time_ms else 0

    def key_before(self, number: int) -> int:
        """The last key frame that is not behind `number`; 0 if none is."""
        at = bisect_right(self._keys, number)
        return self._keys[at - 1] if at else 0

    def key_from(self, number: int) -> int:
        """The first key frame that is not before `number`; 0 if none is."""
        at = bisect_left(self._keys, number)
        return self._keys[at] if at < len(self._keys) else 0


def read_index(path: str, beat: Beat, number: int | None = None) -> Index | None:
    """The index up to frame `number`, or of the whole video; None if it cannot be trusted or does not go so far."""
    import cv2

    capture = open_capture(path, decoding=False)
    try:
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
        if code.to_bytes(4, "little", signed=code < 0).decode("latin-1").upper() in NEVER_SHOWN:
            return None
        most = None if number is None else number + 4 * MOST_DELAY  # packets come in the order of decoding
        times_ms: list[float] = []
        keys_ms: list[float] = []
        while (most is None or len(times_ms) < most) and capture.grab():
            beat()
            times_ms.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)))
            if capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME):
                keys_ms.append(times_ms[-1])
    finally:
        capture.release()
    if len(set(times_ms)) < len(times_ms) or len(times_ms) < (number or 1):
        return None
    return Index(times_ms, keys_ms)
