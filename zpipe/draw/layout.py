"""Where labels go: by their boxes, inside the picture, hiding as little as possible. Plain geometry in pixels.

Areas are rows of left, top, right, bottom.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Areas = NDArray[np.float64]
"""(n, 4)."""


def place_labels(
    boxes: Areas, sizes: NDArray[np.float64], order: Iterable[int], picture: tuple[int, int], gap: float
) -> Areas:
    """The areas of all labels, one per box.

    `sizes`: (n, 2) width and height of each label. Labels are placed in `order`, so the first have the best
    choice. `picture`: width and height. `gap`: from the edge of a box to its label.
    """
    placed = np.zeros((len(boxes), 4))
    done: list[int] = []
    for index in order:
        width, height = sizes[index]
        places = _places(boxes[index], width, height, picture, gap)
        area = max(width * height, 1.0)
        own = _overlaps(places, boxes[index : index + 1])
        others = np.delete(boxes, index, axis=0)
        # In doubt the earlier place. Another label is hardly ever hidden; one's own object only where the label
        # takes little of it; other boxes rather not.
        cost = np.linspace(0, 0.8, len(places))
        cost += 8 * _overlaps(places, placed[done]) / area
        cost += 0.3 * own / area + 2 * own / max(_area(boxes[index]), 1.0)
        cost += 0.6 * _overlaps(places, others) / area
        placed[index] = places[cost.argmin()]
        done.append(index)
    return placed


def _places(box: NDArray[np.float64], width: float, height: float, picture: tuple[int, int], gap: float) -> Areas:
    """Areas to try: above, below, inside and beside the box; all moved into the picture."""
    left, top = box[:2] - gap
    right, bottom = box[2:] + gap
    middle = (left + right - width) / 2
    corners = [
        *[(left, top - height), (left, bottom), (right - width, top - height), (right - width, bottom)],
        *[(middle, top - height), (middle, bottom), (left, top), (left, bottom - height)],
        *[(right - width, top), (right - width, bottom - height), (right, top), (left - width, top)],
        *[(right, bottom - height), (left - width, bottom - height)],
        *[(left, top - 2 * height), (left, bottom + height), (middle, top - 2 * height), (middle, bottom + height)],
    ]
    most = np.maximum(np.array(picture) - [width, height], 0)
    inside = np.clip(np.array(corners), 0, most)
    return np.hstack([inside, inside + np.array([width, height])])


def _overlaps(areas: Areas, others: Areas) -> NDArray[np.float64]:
    """For each of `areas` the square pixels that it shares with `others`, summed."""
    across = np.minimum(areas[:, None, 2], others[None, :, 2]) - np.maximum(areas[:, None, 0], others[None, :, 0])
    down = np.minimum(areas[:, None, 3], others[None, :, 3]) - np.maximum(areas[:, None, 1], others[None, :, 1])
    shared: NDArray[np.float64] = (np.maximum(across, 0) * np.maximum(down, 0)).sum(1)
    return shared


def _area(area: NDArray[np.float64]) -> float:
    return float((area[2] - area[0]) * (area[3] - area[1]))
