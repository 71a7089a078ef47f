"""`zpipe check`: loads a config's models and says what they are, how fast, and what they find in an image."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from zpipe.config.keys import ClassifyConfig, Config
from zpipe.config.loading import load
from zpipe.engines import machine
from zpipe.errors import ZpipeError
from zpipe.images.decoding import decode
from zpipe.messages import Object
from zpipe.models.comparison import can_compare, choose_box, compare
from zpipe.models.interface import Classifier, Detector
from zpipe.models.opening import open_classifier, open_detector
from zpipe.pixels import Pixels
from zpipe.sources.opening import open_source
from zpipe.stages.classify import add_classes
from zpipe.stages.detect import find_objects

MEASURED_CALLS = 5


def report(path: str, overrides: list[str], image: str | None, out: str | None) -> Iterator[str]:
    """Lines for the terminal; ConfigError or ModelError at what is wrong."""
    config = load(path, overrides)
    yield f"{path}: pipeline {config.name!r}"
    for origin in config.ingest:
        source = open_source(origin, config.frames.max_pixels)
        frames = "number of frames unknown" if source.total is None else f"{source.total} frames"
        yield f"ingest {origin.stream}: {origin.path} ({frames}, {source.skipped} skipped)"
        source.close()
    folder = str(Path(path).resolve().parent)
    cores = machine.cores()
    detector = open_detector(config.detect, cores, None, folder)
    classifiers = [open_classifier(entry, cores, None, folder) for entry in config.classifiers]
    picture = read_image(image, config) if image is not None else np.full((720, 1280, 3), 114, np.uint8)
    boxes = np.array([[320, 180, 320, 320]], np.float32)
    yield from describe("detect", detector, partial(detector.detect, picture))
    for entry, classifier in zip(config.classifiers, classifiers, strict=True):
        yield from describe(entry.name, classifier, partial(classifier.classify, picture, boxes))
    if image is not None:
        yield from try_out(config, detector, classifiers, picture, image, out)
    yield f"sink: {config.sink.publish}, results in {config.sink.results}"
    yield "ok"


def models_of(path: str, overrides: list[str]) -> list[str]:
    """What is loaded: for who only knows that one of them has ended its process."""
    config = load(path, overrides)
    return list(dict.fromkeys(entry.model for entry in (config.detect, *config.classifiers)))


def describe(stage: str, model: Detector | Classifier, call: Callable[[], Any]) -> Iterator[str]:
    """What the model says of itself, and the time of a call."""
    call()
    began = time.perf_counter()
    for _ in range(MEASURED_CALLS):
        call()
    took_ms = (time.perf_counter() - began) / MEASURED_CALLS * 1e3
    yield f"{stage}:"
    told: dict[str, Any] = model.describe()
    for key, value in told.items():
        if key not in ("classes", "warnings"):
            yield f"  {key}: {value}"
    yield from (f"  warning: {doubt}; `--image` shows which is right" for doubt in told.get("warnings", []))
    shown = " | ".join(model.labels[:5]) + (" | ..." if len(model.labels) > 5 else "")
    yield f"  names: {shown or 'none (numbers are shown)'}"
    yield f"  time per call: {took_ms:.1f} ms on {machine.cores()} core(s)"


def try_out(
    config: Config,
    detector: Detector,
    classifiers: list[Classifier],
    picture: Pixels,
    name: str,
    out: str | None,
) -> Iterator[str]:
    """Run the models on one image through the stages' own code; print and draw what they found."""
    objects = find_objects(detector, picture)
    for entry, classifier in zip(config.classifiers, classifiers, strict=True):
        add_classes(entry, classifier, picture, objects)
    yield f"{name}: {picture.shape[1]}x{picture.shape[0]}, {len(objects)} object(s)"
    for item in objects:
        kinds = "".join(f"; {c.stage}: {c.label} {c.confidence:.3f}" for c in item.classification)
        seen = item.detection
        yield f"  {seen.label} {seen.confidence:.3f} at {item.x:.0f},{item.y:.0f} {item.w:.0f}x{item.h:.0f}{kinds}"
    for entry, classifier in zip(config.classifiers, classifiers, strict=True):
        if can_compare(classifier):
            yield from show_normalizations(entry, picture, objects)
    if out is not None:
        import cv2

        from zpipe.draw.objects import draw

        if not cv2.imwrite(out, draw(picture, msgspec.to_builtins(objects))):
            raise ZpipeError(f"cannot write {out}")
        yield f"drawn: {out}"


def show_normalizations(entry: ClassifyConfig, picture: Pixels, objects: list[Object]) -> Iterator[str]:
    """What the classifier says of one object under each `normalize`, side by side."""
    what, box = choose_box(entry, picture, objects)
    columns = compare(entry, picture, box, machine.cores())
    yield f"{entry.name}: {what} under each `normalize` (* in effect); the right one is the one that makes sense"
    widths = [max(len(text) for text in (column.title, *column.best)) + 2 for column in columns]
    for row in zip_longest(*([column.title, *column.best] for column in columns), fillvalue=""):
        yield "  " + "".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def read_image(path: str, config: Config) -> Pixels:
    """Decode an image file as the detect stage would."""
    data = Path(path).read_bytes()
    return decode(data, lambda height, width: np.empty((height, width, 3), np.uint8), config.frames.max_pixels)
