"""One colour per label: always the same, far from its neighbours', and text on it that can be read."""

import math
import zlib

Colour = tuple[int, int, int]
"""B, G, R."""

INK: Colour = (20, 16, 16)

GOLDEN = (math.sqrt(5) - 1) / 2
"""Steps of this fraction of the colour circle never come close to an earlier one: labels 0, 1, 2, … differ most."""

LIGHTNESSES = (0.78, 0.66, 0.72)
"""Of consecutive labels (OKLCH, 0 black to 1 white): light enough for dark text, dark enough for white pages."""

CHROMA = 0.16


def colour_of(stage: str, label_id: int | None, label: str) -> Colour:
    """The colour of a label of a stage; by its number, or by its text where it has none."""
    number = zlib.crc32(label.encode()) if label_id is None else label_id
    turn = (zlib.crc32(stage.encode()) / 2**32 + number * GOLDEN) % 1
    return _from_oklch(LIGHTNESSES[number % len(LIGHTNESSES)], CHROMA, turn)


def text_colour_on(background: Colour) -> Colour:
    """Near black or white, whichever contrasts more (WCAG 2 relative luminance)."""
    blue, green, red = (_linear(value / 255) for value in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return INK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else (255, 255, 255)


def _from_oklch(lightness: float, chroma: float, turn: float) -> Colour:
    """Björn Ottosson's OKLCH, in which equal steps look equal, to sRGB; what sRGB cannot show is cut."""
    a, b = chroma * math.cos(2 * math.pi * turn), chroma * math.sin(2 * math.pi * turn)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    return _byte(blue), _byte(green), _byte(red)


def _byte(linear: float) -> int:
    """Linear light to sRGB's transfer curve, 0 to 255 (IEC 61966-2-1)."""
    linear = min(max(linear, 0.0), 1.0)
    return round(255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055))


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
