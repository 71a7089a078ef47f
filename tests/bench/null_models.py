"""Models that do nothing: what a frame costs with them is reading, decoding a tiny JPEG, and messaging."""

import numpy as np


class Detect:
    """One object, always the same."""

    labels = ("thing",)
    found = (np.array([[4, 4, 8, 8]], np.float32), np.array([0.9], np.float32), np.array([0], np.int32))

    def detect(self, image):
        return self.found


class Classify:
    """One class, always the same."""

    labels = ("kind",)
    found = (np.zeros((1, 1), np.int32), np.full((1, 1), 0.5, np.float32))

    def classify(self, image, boxes):
        return self.found
