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

`image` is uint8 BGR (height, width, 3) and belongs to zpipe: it may be read until the call returns. `boxes`
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
from zpipe.model import Classes, Detections, Floats, Pixels
from zpipe.model_filters import thresholds
from zpipe.model_labels import read_labels

if TYPE_CHECKING:
    from zpipe.config import ClassifyConfig, DetectConfig, ModelConfig

T = TypeVar("T")


class PythonDetector:
    """A user's class with `detect`."""

    def __init__(self, config: "DetectConfig", threads: int, folder: str | None) -> None:
        self._model = PythonModel(config, threads, folder, "detect")
        self.labels: Sequence[str] = self._model.labels
        self._most = config.max_objects
        per_class, self._other = thresholds(config, self.labels)
        self._per_class = np.array(per_class, np.float32)

    def detect(self, image: Pixels) -> Detections:
        """The objects in the image that pass the config's thresholds, clipped to the image."""
        returned = self._model.call(image)
        try:
            boxes, confidences, label_ids = detection_arrays(returned)
        except ValueError as problem:
            raise FrameError(f"{self._model.name}.detect returned {problem}") from None
        return self._chosen(clipped(boxes, image.shape[1], image.shape[0]), confidences, label_ids)

    def _chosen(self, boxes: Floats, confidences: Floats, label_ids: Any) -> Detections:
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
            label_ids, confidences = class_arrays(returned, len(boxes))
        except ValueError as problem:
            raise FrameError(f"{self._model.name}.classify returned {problem}") from None
        order = np.argsort(-confidences, axis=1, kind="stable")[:, : self._top_k]
        label_ids = np.take_along_axis(label_ids, order, 1)
        confidences = np.take_along_axis(confidences, order, 1)
        label_ids = np.where(confidences >= self._threshold, label_ids, np.int32(-1))
        missing = ((0, 0), (0, self._top_k - label_ids.shape[1]))
        return Classes(
            np.pad(label_ids, missing, constant_values=-1).astype(np.int32),
            np.pad(confidences, missing).astype(np.float32),
        )

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
        self._module, kind = imported(config.model, folder)
        self._verb = verb
        if not callable(getattr(kind, verb, None)):
            raise ModelError(f"{self.name}: a model of a {verb} stage needs a method `{verb}`, this one has none")
        self._object = guarded(self._module, self.name, ModelError, kind)
        if hasattr(self._object, "open"):
            guarded(
                self._module,
                f"{self.name}.open",
                ModelError,
                self._object.open,
                dict(config.options),
                threads,
            )
        own = [str(label) for label in getattr(self._object, "labels", ())]
        self.labels = own if config.labels is None else read_labels(config.labels)

    def call(self, *arguments: object) -> Any:
        """What the user's `detect` or `classify` returns."""
        if self._object is None:
            raise ModelError(f"{self.name}: the model is closed")
        return guarded(
            self._module,
            f"{self.name}.{self._verb}",
            FrameError,
            getattr(self._object, self._verb),
            *arguments,
        )

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
            guarded(self._module, f"{self.name}.close", ModelError, model.close)


def imported(model: str, folder: str | None) -> tuple[ModuleType, Any]:
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
        raise ModelError(f"{model}: {where(error, None)}{told(error)}") from error
    except Exception as error:
        raise ModelError(f"{model}: {where(error, None)}{told(error)}") from error
    if not hasattr(module, class_name):
        raise ModelError(f"{model}: {module.__file__} has no class {class_name}")
    return module, getattr(module, class_name)


def guarded(module: ModuleType, name: str, kind: type[ZpipeError], call: Callable[..., T], *arguments: object) -> T:
    """What `call` returns; an exception becomes a `kind` that names the user's file and line."""
    try:
        return call(*arguments)
    except Exception as error:
        raise kind(f"{name}: {where(error, module)}{told(error)}") from error


def told(error: BaseException) -> str:
    """The error as the last line of a traceback shows it."""
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]


def where(error: BaseException, module: ModuleType | None) -> str:
    """ "file:line: ", the innermost line of the user's own: in the module's folder, else whatever ran last.

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


def detection_arrays(returned: Any) -> tuple[Floats, Floats, Any]:
    """What a `detect` returned, as (n, 4), (n,), (n,); ValueError, to be read after "returned ", if not."""
    if isinstance(returned, list):
        rows = numbers(returned, "a list of (x, y, w, h, confidence, label_id)")
        rows = rows.reshape(0, 6) if not returned else rows
        if rows.ndim != 2 or rows.shape[1] != 6:
            raise ValueError(f"rows of shape {rows.shape[1:]}, expected (x, y, w, h, confidence, label_id)")
        boxes, confidences, label_ids = rows[:, :4], rows[:, 4], rows[:, 5]
    elif isinstance(returned, tuple) and len(returned) == 3:
        boxes = numbers(returned[0], "boxes")
        confidences = numbers(returned[1], "confidences")
        label_ids = numbers(returned[2], "label_ids")
    else:
        raise ValueError(f"{type(returned).__name__}, expected (boxes, confidences, label_ids) or a list of rows")
    count = len(confidences) if confidences.ndim else -1
    if boxes.size == 0 and count == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.shape != (count, 4) or confidences.shape != (count,) or label_ids.shape != (count,):
        raise ValueError(f"shapes {boxes.shape}, {confidences.shape}, {label_ids.shape}, expected (n, 4), (n,), (n,)")
    return boxes.astype(np.float32), probabilities(confidences), whole(label_ids)


def class_arrays(returned: Any, count: int) -> tuple[Any, Floats]:
    """What a `classify` returned for `count` boxes, as two (n, k); ValueError if it is no such."""
    if isinstance(returned, tuple) and len(returned) == 2:
        label_ids = numbers(returned[0], "label_ids")
        confidences = numbers(returned[1], "confidences")
    elif isinstance(returned, list) and all(isinstance(row, list | tuple) for row in returned):
        most = max((len(row) for row in returned), default=0)
        # Rows may be of different lengths; what is missing comes last.
        padded = [list(row) + [(-1, 0.0)] * (most - len(row)) for row in returned]
        both = numbers(padded, "a list of (label_id, confidence) per box").reshape(len(returned), most, -1)
        if both.size and both.shape[2] != 2:
            raise ValueError(f"entries of {both.shape[2]} numbers, expected (label_id, confidence)")
        both = both.reshape(len(returned), most, 2)
        label_ids, confidences = both[:, :, 0], both[:, :, 1]
    else:
        raise ValueError(f"{type(returned).__name__}, expected (label_ids, confidences) or a list per box")
    if label_ids.ndim != 2 or label_ids.shape != confidences.shape or len(label_ids) != count:
        raise ValueError(f"shapes {label_ids.shape} and {confidences.shape}, expected ({count}, k) twice")
    return whole(label_ids, -1), probabilities(confidences)


def numbers(values: Any, what: str) -> Any:
    """Finite numbers as an array of float64."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{what} that are no array of numbers: {problem}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{what} with a value that is not a finite number")
    return array


def probabilities(values: Any) -> Floats:
    """Confidences; ValueError beyond 0 to 1 by more than rounding."""
    if values.size and (values.min() < -1e-6 or values.max() > 1 + 1e-6):
        raise ValueError(f"confidences from {values.min():g} to {values.max():g}, expected 0 to 1")
    clean: Floats = np.clip(values, 0, 1).astype(np.float32)
    return clean


def whole(values: Any, least: int = 0) -> Any:
    """Label ids; ValueError if one is no whole number from `least`."""
    if values.size and ((values != np.floor(values)).any() or values.min() < least or values.max() > 2**31 - 1):
        raise ValueError("label_ids that are not whole numbers from 0")
    return values.astype(np.int32)


def clipped(boxes: Floats, width: int, height: int) -> Floats:
    """Boxes x, y, w, h inside the image; width or height is 0 for those that are outside."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    corners = np.clip(corners, 0, np.array([width, height, width, height], np.float32))
    sizes = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    return np.concatenate([corners[:, :2], sizes], axis=1).astype(np.float32, copy=False)
