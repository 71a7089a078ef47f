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
) -> tuple[Areas, NDArray[np.intp]]:
    """The areas of all labels, one per box, and which of its sizes each label has.

    `sizes`: (n, k, 2) width and height of each label in each of its k forms, from what one would like to see to the
    least that says something. Labels are placed in `order`, so the first have the best choice. `picture`: width and
    height. `gap`: from the edge of a box to its label.
    """
    placed, forms = np.zeros((len(boxes), 4)), np.zeros(len(boxes), np.intp)
    done: list[int] = []
    for index in order:
        others = np.delete(boxes, index, axis=0)
        choices = [_places(boxes[index], width, height, picture, gap) for width, height in sizes[index]]
        full = max(float(sizes[index][0].prod()), 1.0)
        costs = [_costs(places, boxes[index], others, placed[done], full) for places in choices]
        best = [float(cost.min()) + SMALLER_COSTS * form for form, cost in enumerate(costs)]
        forms[index] = form = int(np.argmin(best))
        placed[index] = choices[form][costs[form].argmin()]
        done.append(index)
    return placed, forms


SMALLER_COSTS = 0.25
"""As much as to hide a quarter of a label's area of other boxes: where there is room, labels keep their size."""


def _costs(places: Areas, box: NDArray[np.float64], others: Areas, labels: Areas, full: float) -> NDArray[np.float64]:
    """What each place hides, by the area `full` of the label in its first form; in doubt the earlier place.

    Another label is hardly ever hidden; one's own object only where the label takes little of it; other boxes rather
    not, and a small one least of all, since it may vanish below the label.
    """
    cost: NDArray[np.float64] = np.linspace(0, 0.8, len(places))
    cost += 8 * _overlaps(places, labels).sum(1) / full
    own = _overlaps(places, box[None]).sum(1)
    cost += 0.3 * own / full + 2 * own / max(_area(box), 1.0)
    hidden = _overlaps(places, others)
    cost += 0.9 * hidden.sum(1) / full
    areas = np.maximum((others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1]), 1.0)
    cost += (hidden / areas).max(1, initial=0.0)
    return cost


def _places(box: NDArray[np.float64], width: float, height: float, picture: tuple[int, int], gap: float) -> Areas:
    """Areas to try: above, below, inside and beside the box, then aside from it; all moved into the picture."""
    left, top = box[:2] - gap
    right, bottom = box[2:] + gap
    middle = (left + right - width) / 2
    corners = [
        *[(left, top - height), (left, bottom), (right - width, top - height), (right - width, bottom)],
        *[(middle, top - height), (middle, bottom), (left, top), (left, bottom - height)],
        *[(right - width, top), (right - width, bottom - height), (right, top), (left - width, top)],
        *[(right, bottom - height), (left - width, bottom - height)],
        *[(x, y) for y in (top - height, bottom) for x in (left - width / 2, right - width / 2)],
        *[(x, y) for y in (top - height, bottom) for x in (left - width, right)],
        *[(left, top - 2 * height), (left, bottom + height), (middle, top - 2 * height), (middle, bottom + height)],
    ]
    most = np.maximum(np.array(picture) - [width, height], 0)
    inside = np.clip(np.array(corners), 0, most)
    return np.hstack([inside, inside + np.array([width, height])])


def _overlaps(areas: Areas, others: Areas) -> NDArray[np.float64]:
    """The square pixels that each of `areas` shares with each of `others`."""
    across = np.minimum(areas[:, None, 2], others[None, :, 2]) - np.maximum(areas[:, None, 0], others[None, :, 0])
    down = np.minimum(areas[:, None, 3], others[None, :, 3]) - np.maximum(areas[:, None, 1], others[None, :, 1])
    shared: NDArray[np.float64] = np.maximum(across, 0) * np.maximum(down, 0)
    return shared


def _area(area: NDArray[np.float64]) -> float:
    return float((area[2] - area[0]) * (area[3] - area[1]))
