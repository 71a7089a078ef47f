"""A classify stage: says of each object of a frame what it is."""

import time

import numpy as np

from zpipe import messages, wire
from zpipe.config import ClassifyConfig
from zpipe.frames import Store
from zpipe.messages import Classification, Object, Result, label_of
from zpipe.model import Classifier, Pixels, eligible


class Classify:
    """Adds its `classification` to each object of a result that it is for."""

    def __init__(self, config: ClassifyConfig, classifier: Classifier, store: Store) -> None:
        self.name = config.name
        self._config = config
        self._classifier = classifier
        self._store = store

    def work(self, frame: wire.Work) -> Result:
        """The frame's result with this stage's classes; FrameError if the model fails on it."""
        result = messages.unpack(frame.body)
        began = time.perf_counter()
        if result.objects and result.resolution is not None:
            slot = self._store.slot(frame.slot, frame.encoded_bytes)
            image = slot.read_pixels(result.resolution.height, result.resolution.width)
            add_classes(self._config, self._classifier, image, result.objects)
        result.timing_ms[self.name] = round((time.perf_counter() - began) * 1e3, 3)
        return result

    def close(self) -> None:
        """Let go of the model."""
        self._classifier.close()


def add_classes(config: ClassifyConfig, classifier: Classifier, image: Pixels, objects: list[Object]) -> None:
    """Add a row of classes to each object that the stage is for.

    Below the stage's threshold the label is null; where the model has no further class (confidence 0) there is none.
    """
    boxes = np.array([(o.x, o.y, o.w, o.h) for o in objects], np.float32).reshape(-1, 4)
    chosen = eligible(config, boxes, [o.detection.label for o in objects])
    if not chosen.any():
        return
    found, labels = classifier.classify(image, boxes[chosen]), classifier.labels
    rows = zip(found.label_ids.tolist(), found.confidences.tolist(), strict=True)
    for item, (label_ids, confidences) in zip(
        (o for o, c in zip(objects, chosen, strict=True) if c), rows, strict=True
    ):
        for label_id, confidence in zip(label_ids, confidences, strict=True):
            if label_id >= 0 or confidence > 0:
                label = label_of(labels, label_id) if label_id >= 0 else None
                item.classification.append(Classification(config.name, label, label_id, round(confidence, 4)))
