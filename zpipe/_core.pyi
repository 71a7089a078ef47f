"""The C++ core of zpipe: pixels and numbers. Every call releases the GIL; every error is a CoreError.

Images are uint8 BGR arrays (height, width, 3) of any strides and are not copied. Boxes are float32 (n, 4):
x, y, w, h in image pixels.
"""

from collections.abc import Sequence
from typing import NoReturn, Protocol, TypedDict, type_check_only

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Triple = tuple[float, float, float]

FORMATS: tuple[str, ...]
"""What `format` may say beside "auto"."""

class CoreError(RuntimeError):
    status: str
    """The names in ext/src/status.cpp."""

@type_check_only
class Port(TypedDict):
    name: str
    type: str
    shape: Sequence[int]
    """-1: any."""
    tail: list[str]
    activation: str
    head: list[str]

@type_check_only
class Info(TypedDict):
    file: str
    runtime: str
    device: str
    precision: str
    metadata: dict[str, str]
    inputs: list[Port]
    outputs: list[Port]

@type_check_only
class Runner(Protocol):
    """What runs a model outside the core."""

    def compile(self, shapes: list[list[int]]) -> Sequence[Sequence[int]]:
        """Make ready for inputs of these shapes (-1: any); the shapes of the outputs."""

    def run(self, arrays: list[NDArray[np.float32]]) -> Sequence[NDArray[np.float32]]:
        """The outputs."""

@type_check_only
class _Metaclass(type):
    """pybind11's."""

class Model(metaclass=_Metaclass):
    """A file that was read; a Detector or Classifier takes it over."""

    def __init__(self, *args: NoReturn, **kwargs: NoReturn) -> None:
        """TypeError: `read_openvino` and `python_model` make it."""

    @property
    def info(self) -> Info:
        """What the file says, before it is compiled."""

def read_openvino(
    file: str, *, device: str = ..., precision: str = ..., threads: int = ..., cache_dir: str = ...
) -> Model: ...
def openvino_output_shapes(file: str, input_shapes: list[list[int]]) -> list[list[int]]:
    """The output shapes that follow from input shapes, for runtimes that cannot tell."""

def python_model(runner: Runner, info: Info) -> Model:
    """A model that Python runs."""

class Detector(metaclass=_Metaclass):
    def __init__(
        self,
        model: Model,
        *,
        format: str = ...,  # noqa: A002
        size: tuple[int, int] | None = ...,
        color: str = ...,
        mean: _Triple | None = ...,
        scale: _Triple | None = ...,
        iou: float = ...,
        max_objects: int = ...,
        class_agnostic: bool = ...,
        names: int = ...,
        tiles: tuple[int, int] = ...,
        tile_overlap: float = ...,
    ) -> None: ...
    @property
    def classes(self) -> int:
        """-1: unknown."""

    @property
    def labels(self) -> list[str]:
        """Where the model itself names them: plugins."""

    def set_thresholds(self, per_class: list[float], other: float) -> None: ...
    def try_out(self) -> None:
        """Runs a model's file on pictures of no meaning; CoreError where what it returns cannot be right."""

    def detect(
        self, image: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]: ...
    def describe(self) -> dict[str, object]: ...

class Classifier(metaclass=_Metaclass):
    def __init__(
        self,
        model: Model,
        *,
        output: str = ...,
        size: tuple[int, int] | None = ...,
        color: str = ...,
        mean: _Triple | None = ...,
        scale: _Triple | None = ...,
        resize: str = ...,
        margin: float = ...,
        top_k: int = ...,
        threshold: float = ...,
        batch: int = ...,
        head: str = ...,
    ) -> None: ...
    @property
    def classes(self) -> int:
        """-1: unknown."""

    @property
    def labels(self) -> list[str]: ...
    def try_out(self) -> None:
        """As a detector's."""

    def classify(
        self, image: NDArray[np.uint8], boxes: ArrayLike
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32] | None]: ...
    def describe(self) -> dict[str, object]: ...

def open_plugin_detector(
    file: str,
    *,
    device: str = ...,
    config_path: str = ...,
    options: str = ...,
    values: dict[str, str | float | bool] = ...,
    threads: int = ...,
    max_objects: int = ...,
) -> Detector: ...
def open_plugin_classifier(
    file: str,
    *,
    device: str = ...,
    config_path: str = ...,
    options: str = ...,
    values: dict[str, str | float | bool] = ...,
    threads: int = ...,
    top_k: int = ...,
    threshold: float = ...,
) -> Classifier: ...
def preprocess(
    image: NDArray[np.uint8],
    *,
    width: int,
    height: int,
    color: str = ...,
    fit: str = ...,
    mean: _Triple | None = ...,
    scale: _Triple | None = ...,
    layout: str = ...,
    region: tuple[int, int, int, int] | None = ...,
) -> tuple[NDArray[np.float32], tuple[float, float, float, float, float, float]]:
    """The tensor (channels, height, width) and left, top, scale_x, scale_y, origin_x, origin_y."""

def suppress(
    boxes: ArrayLike,
    confidences: ArrayLike,
    label_ids: ArrayLike,
    *,
    iou: float,
    class_agnostic: bool = ...,
    limit: int = ...,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Non-maximum suppression of boxes."""
