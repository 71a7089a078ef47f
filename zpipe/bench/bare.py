"""The bare cost of a frame: read, decode, detect, classify, one after the other in one thread, nothing around them.

What is timed is the call alone, in CPU time of the process, so with all threads that a model may start.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from zpipe.bench.frames import MOST_FILES, Room, Sample, first
from zpipe.config.keys import Config
from zpipe.errors import FrameError, RunFailed
from zpipe.images.decoding import decode
from zpipe.messages import label_of
from zpipe.models.filters import eligible
from zpipe.models.interface import Classifier, Detector
from zpipe.models.opening import open_classifier, open_detector
from zpipe.source import SourceFrame

WARM_UP = 3
"""Frames before the first that counts: a model allocates in its first call, memory is touched for the first time."""

LEAST_PASSES = 2
"""How often a sample of files should be gone through in the time given; so many files are taken."""

_clock = time.process_time


class Bare(msgspec.Struct):
    """What a frame of the sample costs on average, CPU milliseconds by step, and what was in it."""

    cost_ms: dict[str, float]
    frames: int
    failed: int
    objects_per_frame: float
    sample: int

    @property
    def total_ms(self) -> float:
        """All steps together."""
        return sum(self.cost_ms.values())


class Steps:
    """The models of a config, and the clock on each step."""

    def __init__(self, config: Config, folder: Path, cache: str | None) -> None:
        self._config = config
        self._detector: Detector = open_detector(config.detect, 1, cache, str(folder))
        self._classifiers: list[Classifier] = [
            open_classifier(entry, 1, cache, str(folder)) for entry in config.classifiers
        ]
        self._room, self._picture = Room(), Room()
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.spent_s: dict[str, float] = defaultdict(float)
        self.frames = self.failed = self.objects = 0

    def run(self, frames: Iterator[SourceFrame], until_s: float = float("inf")) -> None:
        """Take each frame through all steps, until the frames end or this process has worked so long."""
        while True:
            began = _clock()
            frame = next(frames, None)  # a video decodes here
            if frame is None:
                return
            self.frames += 1
            try:
                self._take(frame, began)
            except FrameError:
                self.failed += 1
            if _clock() > until_s:
                return

    def _take(self, frame: SourceFrame, began: float) -> None:
        frame.load(self._room)
        loaded = _clock()
        image = self._room.decoded
        if image is None:
            self.spent_s["read"] += loaded - began
            image = decode(self._room.file, self._picture.pixels, self._config.frames.max_pixels)
            self.spent_s["decode"] += _clock() - loaded
        else:
            self.spent_s["decode"] += loaded - began
        self._infer(image)

    def _infer(self, image: NDArray[np.uint8]) -> None:
        began = _clock()
        found = self._detector.detect(image)
        self.spent_s["detect"] += _clock() - began
        self.objects += len(found.boxes)
        labels = [label_of(self._detector.labels, label_id) for label_id in found.label_ids.tolist()]
        for entry, classifier in zip(self._config.classifiers, self._classifiers, strict=True):
            began = _clock()
            boxes = found.boxes[eligible(entry, found.boxes, labels)]
            if len(boxes):
                classifier.classify(image, boxes)
            self.spent_s[entry.name] += _clock() - began


def measure(config: Config, folder: Path, cache: str | None, seconds: float) -> Bare:
    """The bare cost over whole passes through a sample that fits the time twice."""
    sample = Sample(config)
    sample.limit(MOST_FILES)
    steps = Steps(config, folder, cache)
    steps.run(first(sample, WARM_UP))
    steps.forget()
    began = _clock()
    steps.run(first(sample, WARM_UP))
    frame_s = max(1e-6, (_clock() - began) / max(1, steps.frames))
    if not sample.is_video:
        sample.limit(max(1, int(seconds / frame_s / LEAST_PASSES)))
    steps.forget()
    until = _clock() + seconds
    while _clock() < until:
        steps.run(sample.one_pass(), until if sample.is_video else float("inf"))
    good = steps.frames - steps.failed
    if not good:
        raise RunFailed("not one frame of the sources can be read and decoded")
    cost_ms = {step: spent_s / steps.frames * 1e3 for step, spent_s in steps.spent_s.items()}
    return Bare(cost_ms, steps.frames, steps.failed, steps.objects / good, len(sample))
