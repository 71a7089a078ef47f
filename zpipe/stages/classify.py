"""A classify stage: says of each object of a frame what it is."""

import base64
import time
from collections.abc import Sequence

import numpy as np

from zpipe import messages, wire
from zpipe.config.keys import ClassifyConfig
from zpipe.messages import Classification, Object, Result, label_of
from zpipe.models.filters import eligible
from zpipe.models.interface import Classes, Classifier
from zpipe.pixels import Pixels
from zpipe.transport.store import Store


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
    """Add what the stage says of each object that it is for."""
    boxes = np.array([(o.x, o.y, o.w, o.h) for o in objects], np.float32).reshape(-1, 4)
    chosen = eligible(config, boxes, [o.detection.label for o in objects])
    if not chosen.any():
        return
    found = classifier.classify(image, boxes[chosen])
    rows = rows_of(config.name, found, classifier.labels)
    for item, row in zip((o for o, is_chosen in zip(objects, chosen, strict=True) if is_chosen), rows, strict=True):
        item.classification += row


def rows_of(stage: str, found: Classes, labels: Sequence[str]) -> list[list[Classification]]:
    """A row of entries for each box: classes best first, or values, or an embedding (with confidence 1).

    Below the stage's threshold the label is null; where the model has no further class (confidence 0) there is none.
    """
    if found.embeddings is not None:
        vectors = found.embeddings.astype("<f4")
        return [
            [Classification(stage, None, -1, 1.0, embedding=base64.b64encode(vector.tobytes()).decode())]
            for vector in vectors
        ]
    if found.values is not None:
        return [
            [
                Classification(stage, labels[i] if i < len(labels) else None, i, 1.0, value=round(value, 6))
                for i, value in enumerate(values)
            ]
            for values in found.values.tolist()
        ]
    return [
        [
            Classification(stage, label_of(labels, i) if i >= 0 else None, i, round(confidence, 4))
            for i, confidence in zip(label_ids, confidences, strict=True)
            if i >= 0 or confidence > 0
        ]
        for label_ids, confidences in zip(found.label_ids.tolist(), found.confidences.tolist(), strict=True)
    ]
