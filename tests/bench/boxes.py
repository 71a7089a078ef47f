"""A detector for measuring: as many boxes as wanted, whatever it sees."""

import numpy as np


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
