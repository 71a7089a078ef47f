"""Models that are Python classes of the user's: `model: mypackage.models:PlateReader`.

The class is made without arguments. All that it may have:

    class PlateReader:
        labels = ["plate"]                                        # optional; the config's `labels` win

        def open(self, options: dict[str, object], threads: int) -> None:   # optional: load what is needed

        def detect(self, image):                                  # a detect stage's
            return boxes, confidences, label_ids                  # arrays (n, 4), (n,), (n,)
            return [(x, y, w, h, confidence, label_id), ...]      # or a list

        def classify(self, image, boxes):                         # a classify stage's
            return label_ids, confidences                         # arrays (n, k), best first, or
            return [[(label_id, confidence), ...], ...]           # per box a list, best first

        def close(self) -> None:                                  # optional

`image` is uint8 BGR (height, width, 3) and belongs to zpipe: it can be read, until the call returns. `boxes`
is float32 (n, 4): x, y, w, h in pixels. What is returned is checked. An exception in `open` stops the run
with its file and line; one in `detect` or `classify` makes that frame a failed result.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from zpipe.errors import FrameError, ModelError, ZpipeError
from zpipe.models.filters import find_thresholds
from zpipe.models.interface import Classes, Detections, Floats
from zpipe.models.labels import read_labels
from zpipe.models.returned import clip_boxes, read_classes, read_detections
from zpipe.pixels import Pixels

if TYPE_CHECKING:
    from zpipe.config.keys import ClassifyConfig, DetectConfig, ModelConfig

T = TypeVar("T")


class PythonDetector:
    """A user's class with `detect`."""

    def __init__(self, config: "DetectConfig", threads: int, folder: str | None) -> None:
        self._model = PythonModel(config, threads, folder, "detect")
        self.labels: Sequence[str] = self._model.labels
        self._most = config.max_objects
        per_class, self._other = find_thresholds(config, self.labels)
        self._per_class = np.array(per_class, np.float32)

    def detect(self, image: Pixels) -> Detections:
        """The objects in the image that pass the config's thresholds, clipped to the image."""
        returned = self._model.call(image)
        try:
            boxes, confidences, label_ids = read_detections(returned)
        except ValueError as problem:
            raise FrameError(f"{self._model.name}.detect returned {problem}") from None
        return self._choose(clip_boxes(boxes, image.shape[1], image.shape[0]), confidences, label_ids)

    def _choose(self, boxes: Floats, confidences: Floats, label_ids: Any) -> Detections:
        least = np.full(len(boxes), self._other, np.float32)
        known = label_ids < len(self._per_class)
        least[known] = self._per_class[label_ids[known]]
        keep = np.flatnonzero((confidences >= least) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0))
        keep = keep[np.argsort(-confidences[keep], kind="stable")][: self._most]
        return Detections(boxes[keep], confidences[keep], label_ids[keep])

    def describe(self) -> dict[str, object]:
        """Where the class is from."""
        return self._model.describe()

    def close(self) -> None:
        """Let go of the model; harmless twice."""
        self._model.close()


class PythonClassifier:
    """A user's class with `classify`."""

    def __init__(self, config: "ClassifyConfig", threads: int, folder: str | None) -> None:
        self._model = PythonModel(config, threads, folder, "classify")
        self.labels: Sequence[str] = self._model.labels
        self._top_k = config.top_k
        self._threshold = config.threshold

    def classify(self, image: Pixels, boxes: Floats) -> Classes:
        """The best `top_k` classes of each box."""
        if not len(boxes):
            return Classes(np.empty((0, self._top_k), np.int32), np.empty((0, self._top_k), np.float32))
        returned = self._model.call(image, boxes)
        try:
            label_ids, confidences = read_classes(returned, len(boxes))
        except ValueError as problem:
            raise FrameError(f"{self._model.name}.classify returned {problem}") from None
        if label_ids.shape[1] > 1:
            order = np.argsort(-confidences, axis=1, kind="stable")[:, : self._top_k]
            label_ids = np.take_along_axis(label_ids, order, 1)
            confidences = np.take_along_axis(confidences, order, 1)
        label_ids = np.where(confidences >= self._threshold, label_ids, np.int32(-1))
        if label_ids.shape[1] < self._top_k:
            missing = ((0, 0), (0, self._top_k - label_ids.shape[1]))
            label_ids, confidences = np.pad(label_ids, missing, constant_values=-1), np.pad(confidences, missing)
        return Classes(label_ids.astype(np.int32, copy=False), confidences.astype(np.float32, copy=False))

    def describe(self) -> dict[str, object]:
        """Where the class is from."""
        return self._model.describe()

    def close(self) -> None:
        """Let go of the model; harmless twice."""
        self._model.close()


class PythonModel:
    """An object of the user's class, and where its errors come from."""

    def __init__(self, config: "ModelConfig", threads: int, folder: str | None, verb: str) -> None:
        self.name = config.model
        self._module, kind = import_class(config.model, folder)
        self._verb = verb
        if not callable(getattr(kind, verb, None)):
            raise ModelError(f"{self.name}: a model of a {verb} stage needs a method `{verb}`, this one has none")
        self._object = guard_call(self._module, self.name, ModelError, kind)
        if hasattr(self._object, "open"):
            options = dict(config.options)
            guard_call(self._module, f"{self.name}.open", ModelError, self._object.open, options, threads)
        own = [str(label) for label in getattr(self._object, "labels", ())]
        self.labels = own if config.labels is None else read_labels(config.labels)

    def call(self, image: Pixels, *arguments: object) -> Any:
        """What the user's `detect` or `classify` returns."""
        if self._object is None:
            raise ModelError(f"{self.name}: the model is closed")
        verb = getattr(self._object, self._verb)
        shown = make_read_only(image)
        return guard_call(self._module, f"{self.name}.{self._verb}", FrameError, verb, shown, *arguments)

    def describe(self) -> dict[str, object]:
        """Where the class is from."""
        return {
            "file": self._module.__file__ or self._module.__name__,
            "runtime": "python",
            "device": "the model's own",
            "precision": "the model's own",
            "inputs": [],
            "outputs": [],
            "format": "python",
            "why": "`model` names a Python class",
            "labels": len(self.labels),
        }

    def close(self) -> None:
        """Call the user's `close`, once."""
        model, self._object = self._object, None
        if hasattr(model, "close"):
            guard_call(self._module, f"{self.name}.close", ModelError, model.close)


def make_read_only(image: Pixels) -> Pixels:
    """The same pixels; they lie in memory that other stages read, too."""
    view: Pixels = image.view()
    view.flags.writeable = False
    return view


def import_class(model: str, folder: str | None) -> tuple[ModuleType, Any]:
    """The module and class of `package.module:Class`; searched in the config's folder and the current one."""
    module_name, _, class_name = model.partition(":")
    for place in (os.getcwd(), folder):
        if place is not None and place not in sys.path:
            sys.path.insert(0, place)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            places = " and ".join(dict.fromkeys(place for place in (folder, os.getcwd()) if place))
            raise ModelError(f"{model}: there is no module {error.name} in {places} or installed") from None
        raise ModelError(f"{model}: {find_line(error, None)}{tell_error(error)}") from error
    except Exception as error:
        raise ModelError(f"{model}: {find_line(error, None)}{tell_error(error)}") from error
    if not hasattr(module, class_name):
        raise ModelError(f"{model}: {module.__file__} has no class {class_name}")
    return module, getattr(module, class_name)


def guard_call(module: ModuleType, name: str, kind: type[ZpipeError], call: Callable[..., T], *arguments: object) -> T:
    """What `call` returns; an exception becomes a `kind` that names the user's file and line."""
    try:
        return call(*arguments)
    except Exception as error:
        raise kind(f"{name}: {find_line(error, module)}{tell_error(error)}") from error


def tell_error(error: BaseException) -> str:
    """The error as the last line of a traceback shows it."""
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]


def find_line(error: BaseException, module: ModuleType | None) -> str:
    """The file and line, as in "file:1: ", of the innermost code in the module's folder, else of whatever ran last.

    Nothing for errors that did not come from inside the call, like a method with other parameters.
    """
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: "
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    frames = [frame for frame in frames if frame.filename != __file__]
    home = os.path.dirname(module.__file__ or "") if module is not None else None
    own = [frame for frame in frames if home is not None and frame.filename.startswith(home + os.sep)]
    last = (own or frames)[-1:]
    return f"{last[0].filename}:{last[0].lineno}: " if last else ""
