"""How large things are drawn, from the size of the picture; all in pixels."""

import math

import cv2
import numpy as np

from zpipe.pixels import Pixels

TEXT_FRACTION = 0.016
"""Size of text by the square root of the picture's area: 23 px at 1080p, 72 at 20 megapixels."""

LEAST_TEXT_PX = 13

LONG_SIDE_PX, SHORT_SIDE_PX, MOST_SIDE_PX = 480, 120, 4096
"""A picture with a longer or shorter side below the first two is enlarged, but not above the third."""


def text_size(picture: Pixels) -> int:
    """The size of text that suits a picture."""
    return max(LEAST_TEXT_PX, round(TEXT_FRACTION * math.sqrt(picture.shape[0] * picture.shape[1])))


def enlargement(width: int, height: int) -> int:
    """By how much a picture of that size is enlarged so that text fits: 1 for most."""
    long, short = max(width, height), min(width, height)
    wanted = max(math.ceil(LONG_SIDE_PX / long), math.ceil(SHORT_SIDE_PX / short))
    return max(1, min(wanted, MOST_SIDE_PX // long))


def enlarge(image: Pixels) -> Pixels:
    """A copy, larger by a whole factor where the image is too small for text."""
    factor = enlargement(image.shape[1], image.shape[0])
    if factor == 1:
        return np.copy(image)
    # Up to a few times smooth; beyond, one wants to see the very pixels that the models saw.
    how = cv2.INTER_CUBIC if factor <= 4 else cv2.INTER_NEAREST
    size = image.shape[1] * factor, image.shape[0] * factor
    larger: Pixels = cv2.resize(image, size, interpolation=how).astype(np.uint8, copy=False)
    return larger
