"""Text in pictures: OpenCV 5's own font, which knows most scripts; the plain ASCII of OpenCV 4 where it is older."""

import unicodedata
from functools import cache
from typing import Any, Protocol

import cv2

from zpipe.draw.colours import Colour
from zpipe.pixels import Pixels

WEIGHT = 550
"""Between regular (400) and bold (700): small text on colour stays readable."""


LINE_HEIGHT = 1.3
"""Of a line of text on its own ground, by the size of the text."""


class Font(Protocol):
    """Measures and writes one line of text; sizes in pixels."""

    def width(self, text: str, size: int) -> int:
        """How wide the text will be, in pixels."""
        ...

    def write(self, picture: Pixels, text: str, x: int, baseline: int, size: int, colour: Colour) -> None:
        """Writes into the picture, beginning at x; what lies outside is cut off."""
        ...


class UnicodeFont:
    """The variable sans-serif font that comes with OpenCV 5."""

    def __init__(self) -> None:
        self._face: Any = cv2.FontFace("sans")

    def width(self, text: str, size: int) -> int:
        """The width of the text's box, which begins at 0 as `write` does."""
        x, _, width, _ = cv2.getTextSize((1 << 20, 1 << 20), text, (0, size), self._face, size, WEIGHT)
        return int(x + width)

    def write(self, picture: Pixels, text: str, x: int, baseline: int, size: int, colour: Colour) -> None:
        """Anti-aliased."""
        cv2.putText(picture, text, (x, baseline), colour, self._face, size, WEIGHT)


class AsciiFont:
    """Hershey's stroke font; letters that it lacks lose their accents or become `?`."""

    HEIGHT_PX = 30
    """Of the font at scale 1, about as UnicodeFont's at this size."""

    def width(self, text: str, size: int) -> int:
        """The width of the text's box."""
        return int(cv2.getTextSize(_ascii(text), cv2.FONT_HERSHEY_DUPLEX, size / self.HEIGHT_PX, 1)[0][0])

    def write(self, picture: Pixels, text: str, x: int, baseline: int, size: int, colour: Colour) -> None:
        """Anti-aliased strokes, thicker in larger text."""
        scale, thickness = size / self.HEIGHT_PX, max(1, round(size / 28))
        face = cv2.FONT_HERSHEY_DUPLEX
        cv2.putText(picture, _ascii(text), (x, baseline), face, scale, colour, thickness, cv2.LINE_AA)


@cache
def font() -> Font:
    """The best font of the OpenCV that is installed."""
    return UnicodeFont() if hasattr(cv2, "FontFace") else AsciiFont()


def tidy(text: str, most_letters: int = 40) -> str:
    """One line of printable text, of a bearable length."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most_letters else line[: most_letters - 1] + "…"


def wrap(text: str, size: int, most_px: int) -> list[str]:
    """The text in lines no wider than that, broken between words; a longer word is broken anywhere."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font().width(joined, size) <= most_px:
            lines[-1] = joined
            continue
        while font().width(word, size) > most_px and len(word) > 1:
            fits = max(1, len(word) * most_px // font().width(word, size))
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines


def _ascii(text: str) -> str:
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return plain.encode("ascii", "replace").decode()
