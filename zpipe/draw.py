"""Draws a result into its picture: boxes, labels and confidences, or why the frame failed.

Pure: arrays and results in, a new array out. Sizes follow the picture, so that text can be read on a thumbnail
as well as on 20 megapixels scaled to a screen; pictures too small for any text are enlarged first.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from zpipe.draw_colours import INK, Colour, colour_of, text_colour_on
from zpipe.draw_layout import place_labels
from zpipe.draw_text import LINE_HEIGHT, font, tidy, wrapped

Picture = NDArray[np.uint8]
"""(height, width, 3), BGR, uint8."""

TEXT_FRACTION = 0.016
"""Size of text by the square root of the picture's area: 23 px at 1080p, 72 at 20 megapixels."""

LEAST_TEXT_PX = 13

LONG_SIDE_PX, SHORT_SIDE_PX, MOST_SIDE_PX = 480, 120, 4096
"""A picture with a longer or shorter side below the first two is enlarged, but not above the third."""

ALARM: Colour = (70, 60, 205)
PAPER: Colour = (245, 245, 245)


def draw(image: Picture, result: Mapping[str, Any]) -> Picture:
    """A new picture: the image with the result's objects, or, of a failed frame, with the reason.

    Enlarged by a whole factor when it is too small for text (see `enlargement`). Boxes are scaled when the image
    is of another size than the result says.
    """
    picture = _enlarged(image)
    if result["status"] != "ok":
        _write_plate(picture, result)
        return picture
    labels = [_label(item, picture) for item in result["objects"]]
    if not labels:
        return picture
    boxes = _boxes(result, picture)
    line_px = max(2, round(text_size(picture) / 8))
    for index in np.argsort([-(box[2] - box[0]) * (box[3] - box[1]) for box in boxes]):  # small ones on top
        _draw_box(picture, boxes[index], labels[index].lines[0].colour, line_px)
    labels = [label.fitted(box[2] - box[0]) for label, box in zip(labels, boxes, strict=True)]
    surest_first = np.argsort([-item["detection"]["confidence"] for item in result["objects"]], kind="stable")
    sizes = np.array([label.extent for label in labels], float)
    places = place_labels(boxes, sizes, surest_first.tolist(), picture.shape[1::-1], line_px / 2)
    for index in surest_first[::-1]:
        _draw_label(picture, labels[index], round(places[index][0]), round(places[index][1]))
    return picture


def plate(result: Mapping[str, Any], reason: str = "", width: int = 960, height: int = 540) -> Picture:
    """Stands for a picture that is not there: the frame's name and why there is none, or why the frame failed."""
    picture = np.full((max(height, 270), max(width, LONG_SIDE_PX), 3), 60, np.uint8)
    _write_plate(picture, result, reason)
    return picture


def enlargement(width: int, height: int) -> int:
    """By how much a picture of that size is enlarged so that text fits: 1 for most."""
    long, short = max(width, height), min(width, height)
    wanted = max(math.ceil(LONG_SIDE_PX / long), math.ceil(SHORT_SIDE_PX / short))
    return max(1, min(wanted, MOST_SIDE_PX // long))


def text_size(picture: Picture) -> int:
    """The size of text, in pixels, that suits a picture."""
    return max(LEAST_TEXT_PX, round(TEXT_FRACTION * math.sqrt(picture.shape[0] * picture.shape[1])))


class Line(NamedTuple):
    """One line of a label, and its colour behind the text."""

    text: str
    colour: Colour


class Label(NamedTuple):
    """What names an object: the detection, then the best class of each classify stage."""

    lines: list[Line]
    size: int

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width = max(font().width(line.text, self.size) for line in self.lines)
        return width + 2 * self.pad, len(self.lines) * self.line_height

    @property
    def pad(self) -> int:
        """Room on either side of the text, in pixels."""
        return round(0.35 * self.size)

    @property
    def line_height(self) -> int:
        """In pixels."""
        return round(LINE_HEIGHT * self.size)

    def fitted(self, box_px: float) -> "Label":
        """The label for a box of that width: smaller on a narrow one, so that neighbours' have room too."""
        size = int(self.size * 1.6 * box_px / self.extent[0])
        least = max(LEAST_TEXT_PX - 1, round(0.8 * self.size))
        return self._replace(size=min(self.size, max(size, least)))


def _label(item: Mapping[str, Any], picture: Picture) -> Label:
    found = {"detect": item["detection"]}
    for best in item["classification"]:
        found.setdefault(best["stage"], best)
    lines = [
        Line(f"{_short(best['label'])} {best['confidence']:.2f}", colour_of(stage, best["label_id"], best["label"]))
        for stage, best in found.items()
    ]
    return Label(lines, text_size(picture))


def _short(label: str) -> str:
    """Of a long list of synonyms, as ImageNet's labels are, the first; one line in any case."""
    first = label.split(",")[0]
    return tidy(first if first and len(label) > 16 else label, most_letters=32)


def _boxes(result: Mapping[str, Any], picture: Picture) -> NDArray[np.float64]:
    """Left, top, right, bottom in pixels of `picture`, (n, 4)."""
    height, width = picture.shape[:2]
    resolution = result.get("resolution") or {"width": width, "height": height}
    scale = np.array([width / resolution["width"], height / resolution["height"]] * 2)
    boxes = np.array([(item["x"], item["y"], item["x"] + item["w"], item["y"] + item["h"]) for item in result["objects"]])
    return np.clip(boxes * scale, 0, [width, height, width, height])


def _draw_box(picture: Picture, box: NDArray[np.float64], colour: Colour, line_px: int) -> None:
    """A frame in the label's colour with a thin dark rim, seen on any ground; its lines stay inside the picture."""
    rim, half = max(1, line_px // 4), line_px // 2
    height, width = picture.shape[:2]
    left, top = (max(round(value), half + rim) for value in box[:2])
    right, bottom = (min(round(value), most - 1 - half - rim) for value, most in zip(box[2:], (width, height), strict=True))
    cv2.rectangle(picture, (left, top), (max(right, left), max(bottom, top)), INK, line_px + 2 * rim)
    cv2.rectangle(picture, (left, top), (max(right, left), max(bottom, top)), colour, line_px)


def _draw_label(picture: Picture, label: Label, left: int, top: int) -> None:
    """The detection on its colour; the classes, which say more of it, in theirs on dark ground."""
    for number, line in enumerate(label.lines):
        width = font().width(line.text, label.size) + 2 * label.pad
        ground, text = (line.colour, text_colour_on(line.colour)) if number == 0 else (INK, line.colour)
        cv2.rectangle(picture, (left, top), (left + width - 1, top + label.line_height - 1), ground, cv2.FILLED)
        baseline = top + round(0.76 * label.line_height)
        font().write(picture, line.text, left + label.pad, baseline, label.size, text)
        top += label.line_height


def _write_plate(picture: Picture, result: Mapping[str, Any], reason: str = "") -> None:
    """A band across the middle of the picture, which stays visible but steps back."""
    height, width = picture.shape[:2]
    size = text_size(picture)
    error = result.get("error")
    heading = f"failed in {error['stage']}" if error else "no picture"
    lines = wrapped(error["reason"] if error else reason, size, width - 4 * size)[:8]
    name = wrapped(f"{tidy(result['name'], 120)}  (frame {result['seq']} of {result['stream']})", size, width - 4 * size)
    step = round(1.5 * size)
    band = (len(lines) + len(name[:2])) * step + 4 * size
    np.multiply(picture, 0.45, out=picture, casting="unsafe")
    top = max(0, (height - band) // 2)
    picture[top : top + band] = picture[top : top + band] // 3 + np.uint8(12)
    picture[top : top + band, : max(4, size // 3)] = ALARM if error else (150, 150, 150)
    baseline = top + 2 * size
    font().write(picture, heading, 2 * size, baseline, round(1.3 * size), (150, 140, 255) if error else PAPER)
    for line in lines:
        baseline += step
        font().write(picture, line, 2 * size, baseline, size, PAPER)
    for line in name[:2]:
        baseline += step
        font().write(picture, line, 2 * size, baseline, size, (170, 170, 170))


def _enlarged(image: Picture) -> Picture:
    """A copy, larger where the image is too small for text."""
    factor = enlargement(image.shape[1], image.shape[0])
    if factor == 1:
        return image.copy()
    # Up to a few times smooth; beyond, one wants to see the very pixels that the models saw.
    how = cv2.INTER_CUBIC if factor <= 4 else cv2.INTER_NEAREST
    enlarged: Picture = cv2.resize(image, None, fx=factor, fy=factor, interpolation=how)
    return enlarged
