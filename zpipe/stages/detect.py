"""The detect stage: finds the objects in a frame."""

import numpy as np

from zpipe.config.keys import DetectConfig, Stage
from zpipe.messages import Detection, Object, Result, label_of
from zpipe.models.opening import open_detector
from zpipe.pixels import Pixels
from zpipe.stages.loop import Means, View


class Detect:
    """Makes of a frame that was read a result with objects."""

    def __init__(self, stage: Stage, means: Means) -> None:
        assert isinstance(stage.config, DetectConfig)
        self.name = stage.name
        self.model = open_detector(stage.config, means.threads, means.cache, means.models)

    def work(self, result: Result, view: View) -> None:
        """The objects in the picture, by falling confidence; coordinates to 0.01 px."""
        found, labels = self.model.detect(view.pixels()), self.model.labels
        boxes = found.boxes.astype(np.float64).round(2).tolist()
        result.objects = [
            Object(x, y, w, h, Detection(label_of(labels, label_id), label_id, round(confidence, 4)))
            for (x, y, w, h), confidence, label_id in zip(
                boxes, found.confidences.tolist(), found.label_ids.tolist(), strict=True
            )
        ]

    def rehearse(self, image: Pixels) -> None:
        """Find what is in it."""
        self.model.detect(image)

    def close(self) -> None:
        """Let go of the model."""
        self.model.close()
