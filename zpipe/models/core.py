"""Models in the C++ core: opens `zpipe._core` with a stage's config and translates its errors."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from zpipe import _core
from zpipe.errors import FrameError, ModelError
from zpipe.models.filters import find_thresholds
from zpipe.models.interface import Classes, Detections, Floats
from zpipe.models.labels import check_count, choose_labels
from zpipe.models.normalization import find_doubts, find_pixel_rule, read_triple
from zpipe.pixels import Pixels

if TYPE_CHECKING:
    from zpipe.config.keys import ClassifyConfig, DetectConfig, ModelConfig

T = TypeVar("T")


class CoreDetector:
    """A detector in the core, whatever it runs on."""

    def __init__(self, core: _core.Detector, config: "DetectConfig", labels: Sequence[str]) -> None:
        check_count(config, labels, core.classes)
        self.labels = labels
        self._core: _core.Detector | None = core
        core.set_thresholds(*find_thresholds(config, labels))

    def detect(self, image: Pixels) -> Detections:
        """The objects in the image."""
        return Detections(*call_for_frame(require_open(self._core).detect, image))

    def describe(self) -> dict[str, object]:
        """What the core says of the model, and the labels."""
        core = require_open(self._core)
        return {**core.describe(), "classes": core.classes, "labels": len(self.labels)}

    def close(self) -> None:
        """Let go of the model; harmless twice."""
        self._core = None


class CoreClassifier:
    """A classifier in the core, whatever it runs on; `info` is what a model's file says, plugins have none."""

    def __init__(
        self, core: _core.Classifier, config: "ClassifyConfig", labels: Sequence[str], info: "_core.Info | None" = None
    ) -> None:
        check_count(config, labels, core.classes)
        self.labels = labels
        self._core: _core.Classifier | None = core
        self._config = config
        self._info = info

    def classify(self, image: Pixels, boxes: Floats) -> Classes:
        """The classes, values or embedding of each box."""
        label_ids, confidences, numbers = call_for_frame(require_open(self._core).classify, image, boxes)
        if self._config.output == "embedding":
            return Classes(label_ids, confidences, embeddings=numbers)
        return Classes(label_ids, confidences, values=numbers)

    def describe(self) -> dict[str, object]:
        """What the core says of the model; the labels; the normalisation, and what of the model speaks against it."""
        core = require_open(self._core)
        told = {**core.describe(), "classes": core.classes, "labels": len(self.labels)}
        if self._info is not None:
            head = [kind for port in self._info["inputs"] for kind in port["head"]]
            doubts = find_doubts(self._config, head, self._info["metadata"])
            told |= {"normalize": self._config.normalize, "warnings": list(doubts)}
        return told

    def close(self) -> None:
        """Let go of the model; harmless twice."""
        self._core = None


def open_core_detector(config: "DetectConfig", threads: int, cache_dir: str | None) -> CoreDetector:
    """The detector in a model file."""
    model = read_model(config, threads, cache_dir)
    labels = choose_labels(config.labels, model.info["metadata"])
    columns, _, rows = config.tiles.partition("x")
    size, mean, scale = size_of(config), read_triple(config.mean, "mean"), read_triple(config.scale, "scale")
    core = call_for_model(
        lambda: _core.Detector(
            model,
            format=config.format,
            size=size,
            color=config.color,
            mean=mean,
            scale=scale,
            iou=config.iou,
            max_objects=config.max_objects,
            class_agnostic=config.class_agnostic,
            names=len(labels) or -1,
            tiles=(int(columns), int(rows)),
            tile_overlap=config.tile_overlap,
        )
    )
    detector = CoreDetector(core, config, labels)
    call_for_model(core.try_out)  # which is also the first call, the slow one
    return detector


def open_core_classifier(config: "ClassifyConfig", threads: int, cache_dir: str | None) -> CoreClassifier:
    """The classifier in a model file."""
    model = read_model(config, threads, cache_dir)
    info = model.info  # the core takes the model over
    labels = choose_labels(config.labels, info["metadata"])
    mean, scale, color = find_pixel_rule(config)
    core = call_for_model(
        lambda: _core.Classifier(
            model,
            output=config.output,
            head=config.head or "",
            size=size_of(config),
            color=color,
            mean=mean,
            scale=scale,
            resize=config.resize,
            margin=config.margin,
            top_k=config.top_k,
            threshold=config.threshold,
            batch=0 if config.batch == "auto" else int(config.batch),  # 0: as is fastest
        )
    )
    classifier = CoreClassifier(core, config, labels, info)
    call_for_model(core.try_out)
    return classifier


def read_model(config: "ModelConfig", threads: int, cache_dir: str | None) -> _core.Model:
    """The model in the config's file, in the config's runtime, not yet compiled."""
    check_file(config.model)
    if config.runtime == "onnxruntime":
        from zpipe.models.onnxruntime import read_onnxruntime

        return read_onnxruntime(config, threads)
    return call_for_model(
        lambda: _core.read_openvino(
            config.model,
            device=config.device,
            precision=config.precision,
            threads=threads,
            cache_dir=cache_dir or "",
        )
    )


def check_file(model: str) -> None:
    """ModelError unless it is a file; runtimes and loaders say less, or look elsewhere."""
    if not os.path.isfile(model):
        raise ModelError(f"{model}: {'is not a file' if os.path.exists(model) else 'there is no such file'}")


def call_for_model(make: Callable[[], T]) -> T:
    """What `make` makes; what it raises is the model's fault."""
    try:
        return make()
    except _core.CoreError as error:
        raise ModelError(str(error)) from error


def call_for_frame(call: Callable[..., T], *arguments: object) -> T:
    """What `call` returns; what it raises concerns one frame."""
    try:
        return call(*arguments)
    except _core.CoreError as error:
        raise FrameError(str(error)) from error


def require_open(core: T | None) -> T:
    """The core, unless it was closed."""
    if core is None:
        raise ModelError("the model is closed")
    return core


def size_of(config: "ModelConfig") -> tuple[int, int] | None:
    """The `size` key as (width, height)."""
    return None if config.size is None else (config.size[0], config.size[1])
