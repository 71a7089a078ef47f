"""The detect stage: decodes a frame once, straight into its slot, and finds the objects in it."""

import time

import numpy as np

from zpipe import messages, wire
from zpipe.images.decoding import decode
from zpipe.messages import Detection, Object, Resolution, Result, label_of
from zpipe.models.interface import Detector
from zpipe.pixels import Pixels
from zpipe.transport.store import Store


class Detect:
    """Makes of a frame that was read a result with objects."""

    name = "detect"

    def __init__(self, detector: Detector, store: Store, max_pixels: int) -> None:
        self._detector = detector
        self._store = store
        self._max_pixels = max_pixels

    def work(self, frame: wire.Work) -> Result:
        """The frame's result as far as this stage knows it; FrameError if it cannot be decoded."""
        result = messages.unpack(frame.body)
        slot = self._store.slot(frame.slot, frame.encoded_bytes)
        began = time.perf_counter()
        if frame.encoded_bytes:
            image = decode(slot.read_encoded(), slot.pixels, self._max_pixels)
            result.resolution = Resolution(image.shape[1], image.shape[0])
        else:  # a video's frame, decoded by ingest
            assert result.resolution is not None
            image = slot.read_pixels(result.resolution.height, result.resolution.width)
        decoded = time.perf_counter()
        result.objects = find_objects(self._detector, image)
        result.timing_ms["decode"] = round((decoded - began) * 1e3, 3)
        result.timing_ms["detect"] = round((time.perf_counter() - decoded) * 1e3, 3)
        return result

    def close(self) -> None:
        """Let go of the model."""
        self._detector.close()


def find_objects(detector: Detector, image: Pixels) -> list[Object]:
    """The objects in a BGR image (height, width, 3), by falling confidence; coordinates to 0.01 px."""
    found, labels = detector.detect(image), detector.labels
    boxes = np.round(found.boxes.astype(np.float64), 2).tolist()
    return [
        Object(x, y, w, h, Detection(label_of(labels, label_id), label_id, round(confidence, 4)))
        for (x, y, w, h), confidence, label_id in zip(
            boxes, found.confidences.tolist(), found.label_ids.tolist(), strict=True
        )
    ]
