"""Models for tests: cheap, deterministic, and deadly on sight of a pure colour.

`Detect` finds one object per frame whose box follows from the picture's mean colour, so that results tell frames apart.
`Classify` gives its class by the same. Options:

work_ms, nap_ms    computing time per frame, sleep per frame (as a model on another device)
start_ms           sleep while starting
objects            how many objects `Detect` finds, all the same (1)
deadly             a picture that is purely red segfaults, green hangs, blue exits with code 7
dies_at_start      segfault while starting: always (true), or if this file exists
raises_at_start    an exception while starting
chatter_bytes      printed per frame, without an end of line
"""

import ctypes
import os
import time

import numpy as np


class Probe:
    """What both have in common."""

    def open(self, options, threads):
        self.work_s = float(options.get("work_ms", 0)) / 1000
        self.nap_s = float(options.get("nap_ms", 0)) / 1000
        self.deadly = bool(options.get("deadly", False))
        self.objects = int(options.get("objects", 1))
        self.chatter = "x" * int(options.get("chatter_bytes", 0))
        time.sleep(float(options.get("start_ms", 0)) / 1000)
        dies = options.get("dies_at_start", False)
        if dies is True or (dies and os.path.exists(dies)):
            print("probe: about to die while it starts", flush=True)
            os.kill(os.getpid(), 11)
        if options.get("raises_at_start"):
            raise FileNotFoundError("no such weights")

    def see(self, image):
        b, g, r = (int(value) for value in image[0, 0])
        if self.deadly and (b, g, r) == (0, 0, 255):
            print("probe: about to touch address 0", flush=True)
            ctypes.string_at(0)
        if self.deadly and (b, g, r) == (0, 255, 0):
            time.sleep(3600)
        if self.deadly and (b, g, r) == (255, 0, 0):
            os._exit(7)
        if self.chatter:
            print(self.chatter, end="", flush=True)
        if self.nap_s:
            time.sleep(self.nap_s)
        until = time.perf_counter() + self.work_s
        while time.perf_counter() < until:
            pass
        return b, g, r


class Detect(Probe):
    labels = ["dark", "bright"]  # noqa: RUF012

    def detect(self, image):
        b, g, r = self.see(image)
        height, width = image.shape[:2]
        box, n = [b % width, g % height, 1 + r % 7, 1 + b % 5], self.objects
        confidences, label_ids = np.full(n, 0.5 + r / 512, np.float32), np.full(n, int(b > 127), np.int32)
        return np.tile(np.array(box, np.float32), (n, 1)), confidences, label_ids


class Classify(Probe):
    labels = ["cold", "warm"]  # noqa: RUF012

    def classify(self, image, boxes):
        b, _, r = self.see(image)
        count = len(boxes)
        return np.full((count, 1), int(r > b), np.int32), np.full((count, 1), 0.5 + g_of(image) / 512, np.float32)


def g_of(image):
    return int(image[0, 0, 1])
