"""The bare cost of a frame: read, decode, detect, classify, one after the other in one thread, nothing around them.

What is timed is the call alone, in CPU time of the process, so with all threads that a model may start.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from zpipe.bench.frames import MOST_FILES, Sample, take_first
from zpipe.config.keys import Config
from zpipe.errors import FrameError, RunFailed
from zpipe.images.decoding import decode
from zpipe.messages import Result
from zpipe.models.interface import Classifier, Detector
from zpipe.pixels import Pixels
from zpipe.source import SourceFrame
from zpipe.sources.room import Memory
from zpipe.stages.loop import DecodedPicture, Means, open_stage

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


class Timed:
    """A model whose calls are timed; all else is the model's own."""

    def __init__(self, model: Detector | Classifier) -> None:
        self._model = model
        self.spent_s = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._model, name)
        return self._time(found) if name in ("detect", "classify") else found

    def _time(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = _clock()
            try:
                return call(*arguments)
            finally:
                self.spent_s += _clock() - began

        return timed


class Steps:
    """The stages of a config in one thread, and the clock on each step."""

    def __init__(self, config: Config, folder: Path, cache: str | None) -> None:
        self._config = config
        self._stages = [open_stage(stage, Means(1, cache, str(folder))) for stage in config.stages]
        for stage in self._stages:
            if stage.model is not None:
                stage.model = Timed(stage.model)  # what it computes counts, not what zpipe makes of it
        self._room, self._picture = Memory(), Memory()
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

    def _infer(self, image: Pixels) -> None:
        result = Result(stream="", seq=1, name="", timestamp=0)
        for stage in self._stages:
            if isinstance(stage.model, Timed):
                stage.model.spent_s = 0.0
                stage.work(result, DecodedPicture(image))
                self.spent_s[stage.name] += stage.model.spent_s
        self.objects += len(result.objects)


def measure(config: Config, folder: Path, cache: str | None, seconds: float) -> Bare:
    """The bare cost over whole passes through a sample that fits the time twice."""
    sample = Sample(config)
    sample.limit(MOST_FILES)
    steps = Steps(config, folder, cache)
    steps.run(take_first(sample, WARM_UP))
    steps.forget()
    began = _clock()
    steps.run(take_first(sample, WARM_UP))
    frame_s = max(1e-6, (_clock() - began) / max(1, steps.frames))
    if not sample.is_video:
        sample.limit(max(1, int(seconds / frame_s / LEAST_PASSES)))
    steps.forget()
    until = _clock() + seconds
    while _clock() < until:
        steps.run(sample.go_through(), until if sample.is_video else float("inf"))
    good = steps.frames - steps.failed
    if not good:
        raise RunFailed("not one frame of the sources can be read and decoded")
    cost_ms = {step: spent_s / steps.frames * 1e3 for step, spent_s in steps.spent_s.items()}
    return Bare(cost_ms, steps.frames, steps.failed, steps.objects / good, len(sample))
