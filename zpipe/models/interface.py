"""The models: what a stage calls, whichever runtime is behind it.

`open_detector` and `open_classifier` make of a stage's config something that turns pixels into arrays. Here
is only the shape of that and the choice of the runtime:

    core.py          files in the C++ core over OpenVINO: zpipe._core
    onnxruntime.py   the same with onnxruntime in the middle
    plugin.py        shared libraries with the C ABI of zpipe_plugin.h
    python.py        `package.module:Class`, a class of the user's own

Opening raises ModelError. A call raises FrameError: the model is usable, this frame failed.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from zpipe.messages import label_of as label_of
from zpipe.pixels import Pixels

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]


class Detections(NamedTuple):
    """The objects of one picture, by falling confidence."""

    boxes: Floats
    """(n, 4): x, y, w, h in image pixels, inside the image."""
    confidences: Floats
    """(n,), 0 to 1."""
    label_ids: Ids
    """(n,)."""


class Classes(NamedTuple):
    """What a classifier says of some boxes of one picture, a row per box; classes by falling confidence.

    Models of values or embeddings have no classes: k is 0 and the numbers are in the other fields.
    """

    label_ids: Ids
    """(n, k); -1 where the confidence is below the stage's threshold or there are fewer than k classes."""
    confidences: Floats
    """(n, k), 0 to 1; kept where only the threshold was missed, 0 where there is no further class."""
    values: Floats | None = None
    """(n, m) for `output: value`; `labels`, where there are any, name the m values."""
    embeddings: Floats | None = None
    """(n, d) for `output: embedding`."""


class Detector(Protocol):
    """Finds objects. One picture at a time."""

    labels: Sequence[str]

    def detect(self, image: Pixels) -> Detections:
        """The objects in the image; FrameError if the model fails on it."""

    def describe(self) -> dict[str, object]:
        """For `zpipe check`: file, runtime, device, inputs, outputs, format and why, labels, precision."""

    def close(self) -> None:
        """Let go of the model; harmless twice."""


class Classifier(Protocol):
    """Says what is in each box."""

    labels: Sequence[str]

    def classify(self, image: Pixels, boxes: Floats) -> Classes:
        """The classes of each of the (n, 4) boxes x, y, w, h; FrameError if the model fails on them."""

    def describe(self) -> dict[str, object]:
        """For `zpipe check`, as a detector's."""

    def close(self) -> None:
        """Let go of the model; harmless twice."""
