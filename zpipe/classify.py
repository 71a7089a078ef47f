"""A classify stage: says of each object of a frame what it is."""

import time

import numpy as np

from zpipe import messages, wire
from zpipe.frames import Store
from zpipe.messages import Classification, Result, label_of
from zpipe.model import Classifier


class Classify:
    """Adds its `classification` to each object of a result."""

    def __init__(self, name: str, classifier: Classifier, store: Store) -> None:
        self.name = name
        self._classifier = classifier
        self._store = store

    def work(self, frame: wire.Work) -> Result:
        """The frame's result with this stage's classes; FrameError if the model fails on it."""
        result = messages.unpack(frame.body)
        began = time.perf_counter()
        if result.objects and result.resolution is not None:
            slot = self._store.slot(frame.slot, frame.encoded_bytes)
            image = slot.read_pixels(result.resolution.height, result.resolution.width)
            boxes = np.array([(o.x, o.y, o.w, o.h) for o in result.objects], np.float32)
            found = self._classifier.classify(image, boxes)
            labels = self._classifier.labels
            for item, label_ids, confidences in zip(
                result.objects, found.label_ids.tolist(), found.confidences.tolist(), strict=True
            ):
                item.classification += [
                    Classification(self.name, label_of(labels, label_id), label_id, round(confidence, 4))
                    for label_id, confidence in zip(label_ids, confidences, strict=True)
                    if label_id >= 0
                ]
        result.timing_ms[self.name] = round((time.perf_counter() - began) * 1e3, 3)
        return result

    def close(self) -> None:
        """Let go of the model."""
        self._classifier.close()
