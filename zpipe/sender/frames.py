"""A frame as it is sent, and how it is made of what a program calls a picture."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Union

from zpipe import upload
from zpipe.errors import FrameError
from zpipe.sources.files import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = Union[bytes, bytearray, memoryview, str, os.PathLike[str], NDArray[np.uint8]]  # noqa: UP007

MOST_LETTERS = 1000
"""Of a name, or of a reason: they must fit into the first part of a message."""


class Parcel(NamedTuple):
    """A frame: its name, and the picture (with a size in pixels: of pixels) or the reason why there is none."""

    name: str
    data: bytes
    height: int = 0
    width: int = 0
    reason: str = ""

    @property
    def size(self) -> int:
        """What it counts for in the credit."""
        return len(self.data)

    def head(self, seq: int) -> upload.FromSender:
        """Its first part."""
        name = tidy(self.name)
        if self.reason:
            return upload.Failed(seq, name, tidy(self.reason))
        return upload.NewFrame(seq, name, self.height, self.width)


def frame_of(picture: "Picture", name: str | None, jpeg: int | None) -> Parcel:
    """The picture as a frame; FrameError if it is none. `jpeg`: pixels travel as JPEG of this quality, else as they
    are.

    Without a `name` it has that of the file, or none.
    """
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        try:
            return Parcel(printable(path.name) if name is None else name, path.read_bytes())
        except OSError as error:
            raise FrameError(f"{path}: cannot be read: {error.strerror}") from None
    if isinstance(picture, bytes | bytearray | memoryview):
        return Parcel(name or "", bytes(picture))
    return frame_of_pixels(picture, name or "", jpeg)


def frame_of_pixels(pixels: "NDArray[np.uint8]", name: str, jpeg: int | None) -> Parcel:
    """A BGR picture (height, width, 3) of uint8 as a frame; FrameError if it is none."""
    shape: tuple[int, ...] = getattr(pixels, "shape", ())
    kind = str(getattr(pixels, "dtype", type(pixels).__name__))
    if len(shape) != 3 or shape[2] != 3 or kind != "uint8" or 0 in shape:
        raise FrameError(f"a picture of shape {shape} and type {kind}; expected (height, width, 3) of uint8, BGR")
    if jpeg is None:
        return Parcel(name, pixels.tobytes(), shape[0], shape[1])
    import cv2

    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, jpeg])
    if not done:
        raise FrameError(f"a picture of {shape[1]}×{shape[0]} cannot be made a JPEG")
    return Parcel(name, data.tobytes())


def tidy(text: str) -> str:
    """Text that a message can carry: not too long, and valid."""
    return text[:MOST_LETTERS].encode(errors="backslashreplace").decode()
