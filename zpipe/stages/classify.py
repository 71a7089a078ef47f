"""A classify stage: says of each object of a frame what it is."""

import base64
from collections.abc import Sequence

import numpy as np

from zpipe.config.keys import ClassifyConfig, Stage
from zpipe.messages import Classification, Result, label_of
from zpipe.models.filters import find_eligible
from zpipe.models.interface import Classes
from zpipe.models.opening import open_classifier
from zpipe.pixels import Pixels
from zpipe.stages.loop import Means, View


class Classify:
    """Adds its `classification` to each object of a result that it is for."""

    def __init__(self, stage: Stage, means: Means) -> None:
        assert isinstance(stage.config, ClassifyConfig)
        self.name = stage.name
        self.model = open_classifier(stage.config, means.threads, means.cache, means.models)
        self._config = stage.config

    def work(self, result: Result, view: View) -> None:
        """What this stage says of each object that it is for."""
        objects = find_eligible(self._config, result.objects)
        if not objects:
            return
        boxes = np.array([(o.x, o.y, o.w, o.h) for o in objects], np.float32)
        found = self.model.classify(view.pixels(), boxes)
        for item, row in zip(objects, rows_of(self.name, found, self.model.labels), strict=True):
            item.classification += row

    def rehearse(self, image: Pixels) -> None:
        """Say what is in the middle of it."""
        height, width = image.shape[:2]
        self.model.classify(image, np.array([[width / 4, height / 4, width / 4, width / 4]], np.float32))

    def close(self) -> None:
        """Let go of the model."""
        self.model.close()


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
