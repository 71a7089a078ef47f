"""What a user's Python model returns, checked: arrays of the right shapes with numbers that can be, or ValueError.

The error's text is to be read after "returned ".
"""

from typing import Any

import numpy as np

from zpipe.models.interface import Floats


def read_detections(returned: Any) -> tuple[Floats, Floats, Any]:
    """What a `detect` returned, as (n, 4), (n,), (n,); ValueError, to be read after "returned ", if not."""
    if isinstance(returned, list):
        rows = read_numbers(returned, "a list of (x, y, w, h, confidence, label_id)")
        rows = rows.reshape(0, 6) if not returned else rows
        if rows.ndim != 2 or rows.shape[1] != 6:
            raise ValueError(f"rows of shape {rows.shape[1:]}, expected (x, y, w, h, confidence, label_id)")
        boxes, confidences, label_ids = rows[:, :4], rows[:, 4], rows[:, 5]
    elif isinstance(returned, tuple) and len(returned) == 3:
        boxes = read_numbers(returned[0], "boxes")
        confidences = read_numbers(returned[1], "confidences")
        label_ids = read_numbers(returned[2], "label_ids")
    else:
        raise ValueError(f"{type(returned).__name__}, expected (boxes, confidences, label_ids) or a list of rows")
    count = len(confidences) if confidences.ndim else -1
    if boxes.size == 0 and count == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.shape != (count, 4) or confidences.shape != (count,) or label_ids.shape != (count,):
        raise ValueError(f"shapes {boxes.shape}, {confidences.shape}, {label_ids.shape}, expected (n, 4), (n,), (n,)")
    if (boxes[:, 2:] < 0).any():
        raise ValueError("boxes with a negative width or height")
    return boxes.astype(np.float32), read_confidences(confidences), read_label_ids(label_ids)


def read_classes(returned: Any, count: int) -> tuple[Any, Floats]:
    """What a `classify` returned for `count` boxes, as two (n, k); ValueError if it is no such."""
    if isinstance(returned, tuple) and len(returned) == 2:
        label_ids = read_numbers(returned[0], "label_ids")
        confidences = read_numbers(returned[1], "confidences")
    elif isinstance(returned, list) and all(isinstance(row, list | tuple) for row in returned):
        most = max((len(row) for row in returned), default=0)
        # Rows may be of different lengths; what is missing comes last.
        padded = [list(row) + [(-1, 0.0)] * (most - len(row)) for row in returned]
        both = read_numbers(padded, "a list of (label_id, confidence) per box")
        both = both.reshape(len(returned), 0, 2) if not most else both
        if both.ndim != 3 or both.shape[2] != 2:
            raise ValueError(f"entries of shape {both.shape[2:]}, expected (label_id, confidence)")
        label_ids, confidences = both[:, :, 0], both[:, :, 1]
    else:
        raise ValueError(f"{type(returned).__name__}, expected (label_ids, confidences) or a list per box")
    if label_ids.ndim != 2 or label_ids.shape != confidences.shape or len(label_ids) != count:
        raise ValueError(f"shapes {label_ids.shape} and {confidences.shape}, expected ({count}, k) twice")
    return read_label_ids(label_ids, -1), read_confidences(confidences)


def read_numbers(values: Any, what: str) -> Any:
    """Finite numbers as an array of float64."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{what} that are no array of numbers: {problem}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{what} with a value that is not a finite number")
    return array


def read_confidences(values: Any) -> Floats:
    """Confidences; ValueError beyond 0 to 1 by more than rounding."""
    if values.size and (values.min() < -1e-6 or values.max() > 1 + 1e-6):
        raise ValueError(f"confidences from {values.min():g} to {values.max():g}, expected 0 to 1")
    clean: Floats = np.clip(values, 0, 1).astype(np.float32)
    return clean


def read_label_ids(values: Any, least: int = 0) -> Any:
    """Label ids; ValueError if one is no whole number from `least`."""
    if values.size and ((values != np.floor(values)).any() or values.min() < least or values.max() > 2**31 - 1):
        raise ValueError("label_ids that are not whole numbers from 0")
    return values.astype(np.int32)


def clip_boxes(boxes: Floats, width: int, height: int) -> Floats:
    """Boxes x, y, w, h inside the image; width or height is 0 for those that are outside."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    corners = np.clip(corners, 0, np.array([width, height, width, height], np.float32))
    sizes = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    return np.concatenate([corners[:, :2], sizes], axis=1).astype(np.float32, copy=False)
