"""Models for tests: cheap, deterministic, and deadly on sight of a pure colour.

`Detect` finds one object per frame whose box follows from the picture's mean colour, so that results tell frames apart.
`Classify` gives its class by the same. Options: `work_ms` (computing time per frame), `start_ms`, and for the tests
of crashes: a picture that is purely red segfaults, green hangs, blue exits with code 7, in the stage whose option
`deadly` is true.
"""

import ctypes
import os
import time

import numpy as np


class Probe:
    """What both have in common."""

    def open(self, options, threads):
        self.work_s = float(options.get("work_ms", 0)) / 1000
        self.deadly = bool(options.get("deadly", False))
        time.sleep(float(options.get("start_ms", 0)) / 1000)
        if options.get("dies_at_start"):
            os.kill(os.getpid(), 11)

    def see(self, image):
        b, g, r = (int(value) for value in image[0, 0])
        if self.deadly and (b, g, r) == (0, 0, 255):
            print("probe: about to touch address 0", flush=True)
            ctypes.string_at(0)
        if self.deadly and (b, g, r) == (0, 255, 0):
            time.sleep(3600)
        if self.deadly and (b, g, r) == (255, 0, 0):
            os._exit(7)
        until = time.perf_counter() + self.work_s
        while time.perf_counter() < until:
            pass
        return b, g, r


class Detect(Probe):
    labels = ["dark", "bright"]  # noqa: RUF012

    def detect(self, image):
        b, g, r = self.see(image)
        height, width = image.shape[:2]
        box = [[b % width, g % height, 1 + r % 7, 1 + b % 5]]
        return np.array(box, np.float32), np.array([0.5 + r / 512], np.float32), np.array([int(b > 127)], np.int32)


class Classify(Probe):
    labels = ["cold", "warm"]  # noqa: RUF012

    def classify(self, image, boxes):
        b, _, r = self.see(image)
        count = len(boxes)
        return np.full((count, 1), int(r > b), np.int32), np.full((count, 1), 0.5 + g_of(image) / 512, np.float32)


def g_of(image):
    return int(image[0, 0, 1])
