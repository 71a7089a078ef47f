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


class Boxes:
    """As many objects as the option `boxes` says, of different sizes, all over the picture."""

    labels = ("thing",)

    def open(self, options, threads):
        rng, count = np.random.default_rng(7), int(options.get("boxes", 8))
        self.parts = rng.uniform((0, 0, 0.05, 0.05), (0.6, 0.6, 0.4, 0.4), (count, 4)).astype(np.float32)

    def detect(self, image):
        height, width = image.shape[:2]
        boxes = self.parts * np.array([width, height, width, height], np.float32)
        return boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int32)
