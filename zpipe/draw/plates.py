"""What is shown of a frame that failed, or whose image is not there: a band with the reason."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zpipe.draw.colours import Colour
from zpipe.draw.sizes import LONG_SIDE_PX, enlarge, text_size
from zpipe.draw.text import font, tidy, wrap
from zpipe.pixels import Pixels

ALARM: Colour = (70, 60, 205)
ALARM_TEXT: Colour = (150, 140, 255)
GRAY: Colour = (170, 170, 170)
PAPER: Colour = (245, 245, 245)

MOST_LINES = 8
"""Of a reason; the results have all of it."""


def with_failure(image: Pixels, result: Mapping[str, Any]) -> Pixels:
    """A new picture: the image of a `failed` result, dimmed, with stage and reason across it."""
    picture = enlarge(image)
    np.multiply(picture, 0.45, out=picture, casting="unsafe")
    _write_band(picture, result, "")
    return picture


def plate(result: Mapping[str, Any], reason: str = "", width: int = 960, height: int = 540) -> Pixels:
    """Stands for a picture that is not there: why the frame failed, or else `reason`, why there is no picture."""
    picture = np.full((max(height, 270), max(width, LONG_SIDE_PX), 3), 28, np.uint8)
    _write_band(picture, result, reason)
    return picture


def _write_band(picture: Pixels, result: Mapping[str, Any], reason: str) -> None:
    size, error = text_size(picture), result.get("error")
    room_px = picture.shape[1] - 4 * size
    name = f"{tidy(result['name'], 120)}  (frame {result['seq']} of {result['stream']})"
    reasons = wrap(error["reason"] if error else reason, size, room_px)[:MOST_LINES]
    lines = [(line, PAPER) for line in reasons] + [(line, GRAY) for line in wrap(name, size, room_px)[:2]]
    step = round(1.5 * size)
    height = len(lines) * step + 4 * size
    top = max(0, (picture.shape[0] - height) // 2)
    band = picture[top : top + height]
    band[:] = band // 3 + np.uint8(12)
    band[:, : max(4, size // 3)] = ALARM if error else GRAY
    baseline = top + 2 * size
    heading, colour = (f"failed in {error['stage']}", ALARM_TEXT) if error else ("no picture", PAPER)
    font().write(picture, heading, 2 * size, baseline, round(1.3 * size), colour)
    for line, colour in lines:
        baseline += step
        font().write(picture, line, 2 * size, baseline, size, colour)
