"""Draws objects into their picture: boxes, labels and confidences.

Pure: arrays in, a new array out. Sizes follow the picture, so that text can be read on a thumbnail as well as on
20 megapixels scaled to a screen; pictures too small for any text are enlarged first.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from zpipe.draw.colours import INK, Colour, colour_of, text_colour_on
from zpipe.draw.layout import place_labels
from zpipe.draw.sizes import LEAST_TEXT_PX, enlarge, text_size
from zpipe.draw.text import LINE_HEIGHT, font, tidy
from zpipe.pixels import Pixels


def draw(
    image: Pixels,
    objects: Sequence[Mapping[str, Any]],
    resolution: tuple[int, int] | None = None,
    with_labels: bool = True,
) -> Pixels:
    """A new picture: the image with the `objects` of a result (DESIGN: decoded JSON) on it.

    Small images are enlarged by a whole factor (see `sizes.enlargement`). `resolution`: width and height that the
    boxes are for, if not the image's own.
    """
    picture = enlarge(image)
    if not objects:
        return picture
    width, height = resolution or (image.shape[1], image.shape[0])
    boxes = _scale_boxes(objects, picture.shape[1] / width, picture.shape[0] / height, picture)
    labels = _fit([_make_label(item, text_size(picture)) for item in objects], boxes)
    line_px = max(2, round(text_size(picture) / 8))
    largest_first = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")
    for index in largest_first:  # small ones on top
        _draw_box(picture, boxes[index], labels[index].lines[0].colour, line_px)
    if not with_labels:
        return picture
    surest_first = np.argsort([-item["detection"]["confidence"] for item in objects], kind="stable").tolist()
    forms = [label.shrink() for label in labels]
    sizes = np.array([[form.extent for form in label] for label in forms], float)
    places, chosen = place_labels(boxes, sizes, surest_first, (picture.shape[1], picture.shape[0]), line_px / 2)
    for index in reversed(surest_first):
        _draw_label(picture, forms[index][chosen[index]], round(places[index][0]), round(places[index][1]))
    return picture


CROWD_TEXT_PX = 10
"""Least size of text where many boxes leave no room for more."""


class Line(NamedTuple):
    """One line of a label: what, how sure, and its colour."""

    label: str
    confidence: str
    colour: Colour


class Label(NamedTuple):
    """What names an object: the detection, then the best class of each classify stage. All in pixels."""

    lines: list[Line]
    size: int

    def shrink(self) -> "list[Label]":
        """The label and what it may become in a crowd: smaller, and then without the confidences."""
        size = max(CROWD_TEXT_PX, round(0.75 * self.size))
        plain = [line._replace(confidence="") for line in self.lines]
        return [self, self._replace(size=size), Label(plain, size)]

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height."""
        return max(map(self.width, self.lines)), len(self.lines) * self.line_height

    def width(self, line: Line) -> int:
        """Of one line with its ground."""
        if not line.confidence:
            return self.pad + font().width(line.label, self.size) + self.pad
        return self.confidence_at(line) + font().width(line.confidence, self.small) + self.pad

    def confidence_at(self, line: Line) -> int:
        """Where the confidence begins: apart from the label, which may be a number itself."""
        return self.pad + font().width(line.label, self.size) + round(0.45 * self.size)

    @property
    def pad(self) -> int:
        """Room on either side of the text."""
        return round(0.35 * self.size)

    @property
    def small(self) -> int:
        """The size of the confidence."""
        return min(self.size, max(LEAST_TEXT_PX - 2, round(0.8 * self.size)))

    @property
    def line_height(self) -> int:
        """Of each line with its ground."""
        return round(LINE_HEIGHT * self.size)


def _make_label(item: Mapping[str, Any], size: int) -> Label:
    found = {"detect": item["detection"]}
    for best in item.get("classification") or ():
        found.setdefault(best["stage"], best)
    lines = [
        Line(_shorten(one["label"]), f"{one['confidence']:.2f}", colour_of(stage, one["label_id"], one["label"]))
        for stage, one in found.items()
    ]
    return Label(lines, size)


def _fit(labels: list[Label], boxes: NDArray[np.float64]) -> list[Label]:
    """All labels in one size: smaller where most boxes are narrow, so that neighbours' labels have room."""
    size = labels[0].size
    narrow = [1.6 * (box[2] - box[0]) / label.extent[0] for label, box in zip(labels, boxes, strict=True)]
    least = max(LEAST_TEXT_PX - 1, round(0.8 * size))
    return [label._replace(size=min(size, max(least, int(size * np.median(narrow))))) for label in labels]


def _shorten(label: str) -> str:
    """Of a long list of synonyms, as ImageNet's labels are, the first; one line in any case."""
    first = label.split(",")[0]
    return tidy(first if first and len(label) > 16 else label, most_letters=32)


def _scale_boxes(
    objects: Sequence[Mapping[str, Any]], across: float, down: float, picture: Pixels
) -> NDArray[np.float64]:
    """Left, top, right, bottom in pixels of `picture`, (n, 4)."""
    corners = [(item["x"], item["y"], item["x"] + item["w"], item["y"] + item["h"]) for item in objects]
    most = [picture.shape[1], picture.shape[0]] * 2
    boxes: NDArray[np.float64] = np.array(corners, float) * [across, down, across, down]
    return boxes.clip(0, most)


def _draw_box(picture: Pixels, box: NDArray[np.float64], colour: Colour, line_px: int) -> None:
    """A frame in the label's colour with a thin dark rim, seen on any ground; its lines stay inside the picture."""
    rim, half = max(1, line_px // 4), line_px // 2
    height, width = picture.shape[:2]
    left, top = (max(round(value), half + rim) for value in box[:2])
    right, bottom = (
        min(round(value), most - 1 - half - rim) for value, most in zip(box[2:], (width, height), strict=True)
    )
    cv2.rectangle(picture, (left, top), (max(right, left), max(bottom, top)), INK, line_px + 2 * rim)
    cv2.rectangle(picture, (left, top), (max(right, left), max(bottom, top)), colour, line_px)


def _draw_label(picture: Pixels, label: Label, left: int, top: int) -> None:
    """The detection on its colour; the classes, which say more of it, in theirs on dark ground."""
    for line in label.lines:
        ground, text = (line.colour, text_colour_on(line.colour)) if line is label.lines[0] else (INK, line.colour)
        right, bottom = left + label.width(line) - 1, top + label.line_height - 1
        cv2.rectangle(picture, (left, top), (right, bottom), ground, cv2.FILLED)
        baseline = top + round(0.76 * label.line_height)
        font().write(picture, line.label, left + label.pad, baseline, label.size, text)
        font().write(picture, line.confidence, left + label.confidence_at(line), baseline, label.small, text)
        top += label.line_height
