"""`zpipe check`: loads a config's models and says what they are, how fast, and what they find in an image."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from zpipe.config.keys import ClassifyConfig, Config, ModelConfig
from zpipe.config.loading import load
from zpipe.engines import machine
from zpipe.errors import ZpipeError
from zpipe.images.decoding import decode
from zpipe.messages import Object, Result
from zpipe.models.comparison import can_compare, choose_box, compare
from zpipe.models.interface import Classifier, Detector
from zpipe.pixels import Pixels
from zpipe.sources.opening import open_source
from zpipe.stages.loop import DecodedPicture, Means, StageWork, open_stage
from zpipe.transport.keys import Keys

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
    means = Means(machine.cores(), None, str(Path(path).resolve().parent))
    stages = [open_stage(stage, means) for stage in config.stages]
    picture = read_image(image, config) if image is not None else np.full((720, 1280, 3), 114, np.uint8)
    for stage in stages:
        if stage.model is not None:
            yield from describe(stage.name, stage.model, partial(stage.rehearse, picture))
    if image is not None:
        yield from try_out(config, stages, picture, image, out)
    yield f"sink: {config.sink.publish}, results in {config.sink.results}"
    if config.keys is not None:
        yield f"keys: {', '.join(client.name for client in Keys(config.keys).clients) or 'nobody is let in yet'}"
    yield "ok"


def models_of(path: str, overrides: list[str]) -> list[str]:
    """The models that a check loads, to be named when one of them has ended the process that loaded it."""
    entries = [stage.config for stage in load(path, overrides).stages]
    return list(dict.fromkeys(entry.model for entry in entries if isinstance(entry, ModelConfig)))


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


def try_out(config: Config, stages: list[StageWork], picture: Pixels, name: str, out: str | None) -> Iterator[str]:
    """Run the stages on one image; print and draw what they found."""
    result = Result(stream="", seq=1, name=name, timestamp=0)
    for stage in stages:
        stage.work(result, DecodedPicture(picture))
    objects = result.objects
    yield f"{name}: {picture.shape[1]}x{picture.shape[0]}, {len(objects)} object(s)"
    for item in objects:
        kinds = "".join(f"; {c.stage}: {c.label} {c.confidence:.3f}" for c in item.classification)
        seen = item.detection
        yield f"  {seen.label} {seen.confidence:.3f} at {item.x:.0f},{item.y:.0f} {item.w:.0f}x{item.h:.0f}{kinds}"
    for entry, stage in zip(config.stages, stages, strict=True):
        if isinstance(entry.config, ClassifyConfig) and can_compare(stage.model):
            yield from show_normalizations(entry.config, picture, objects)
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
