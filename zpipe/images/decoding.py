"""Encoded images to pixels: BGR, uint8, upright, as a person expects to see the picture.

JPEG goes through libjpeg-turbo (simplejpeg) straight into the caller's memory; every other format through
OpenCV, which is imported only when the first such file (or rotated JPEG) comes.

What "as a person expects" means here:

- EXIF orientation is applied (JPEG, PNG, WebP, TIFF; AVIF by its own rotation and mirror properties).
- Transparency is laid over white, as on a page; what hides under transparent pixels is never shown.
- 16 bits a sample are scaled to 8; gray and palettes become BGR; of several frames or pages the first counts.
- CMYK JPEGs are read as Adobe writes them (inverted), with or without its marker, as browsers do.
- Corrupt but complete data gives the picture with its flaws; data that ends early is an error.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from zpipe.errors import FrameError
from zpipe.images import opencv
from zpipe.images.headers import Header, read_header, refuse_above
from zpipe.pixels import Pixels

Allocate = Callable[[int, int], Pixels]
"""(height, width) -> a writable, C-contiguous picture of that size, possibly in shared memory."""


def decode(data: memoryview | bytes, allocate: Allocate, max_pixels: int) -> Pixels:
    """Decodes one encoded image into memory from `allocate` and returns that picture.

    `allocate` is called at most once, after the header was found to claim no more than `max_pixels`. Raises
    `FrameError` when the bytes are no image that zpipe reads, too large, damaged or incomplete; memory that
    was allocated by then holds nothing of use.
    """
    encoded = memoryview(data)
    header = read_header(encoded)
    refuse_above(max_pixels, header.width, header.height)
    if header.format != "JPEG":
        picture = _decode_by_opencv(encoded, header)
        # OpenCV turns TIFFs upright whatever its flags say, and nothing else when they say "unchanged".
        orientation = 1 if header.format == "TIFF" else header.orientation
        return _turn_upright(picture, orientation, allocate, max_pixels)
    if header.orientation == 1:
        out = allocate(header.height, header.width)
        _decode_jpeg(encoded, out)
        return out
    lying = np.empty((header.height, header.width, 3), np.uint8)
    _decode_jpeg(encoded, lying)
    return _turn_upright(lying, header.orientation, allocate, max_pixels)


def _decode_jpeg(data: memoryview, out: Pixels) -> None:
    """Fills `out`. The strict decoder stops at libjpeg's warnings; only a missing end is final."""
    try:
        decoded = simplejpeg.decode_jpeg(data, "BGR", buffer=out, strict=True)
    except (ValueError, KeyError, RuntimeError) as error:
        reason = str(error)
        if "Premature end" in reason:
            raise FrameError("JPEG file is truncated: its data ends before the picture does") from error
    else:
        if decoded.shape != out.shape:
            raise FrameError("JPEG file whose data and header disagree on the size of the picture")
        return
    # OpenCV forgives what libjpeg warns of (bit errors, junk between segments), but no truncated data.
    lenient = _imdecode(data, as_8_bit_bgr=True)
    if not isinstance(lenient, np.ndarray) or lenient.shape != out.shape:
        raise FrameError(f"JPEG file cannot be decoded: {opencv.explain(reason)}")
    np.copyto(out, lenient)


def _decode_by_opencv(data: memoryview, header: Header) -> NDArray[Any]:
    """The picture as stored (not upright): gray or BGR, uint8."""
    # OpenCV calls some TIFF palettes gray (and converts green to it) when asked to change nothing.
    picture = _imdecode(data, as_8_bit_bgr=header.has_palette)
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint16:
        if header.format == "AVIF":  # 10 or 12 bits, not scaled to 16; OpenCV can scale, but without alpha
            picture = _imdecode(data, as_8_bit_bgr=True)
        else:
            picture = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 257 · 255
    if not isinstance(picture, np.ndarray):
        raise FrameError(f"{header.format} file cannot be decoded: {picture}")
    if picture.dtype != np.uint8:
        raise FrameError(f"{header.format} file of {picture.dtype} samples; zpipe reads uint8 and uint16")
    if picture.ndim == 3 and picture.shape[2] == 4:
        picture = _lay_over_white(picture, is_premultiplied=header.format == "TIFF")
    return picture


def _lay_over_white(picture: NDArray[np.uint8], is_premultiplied: bool) -> Pixels:
    """BGRA to BGR on a white page. libtiff hands out colours that are already multiplied by alpha."""
    alpha = picture[:, :, 3:].astype(np.uint16)
    if int(alpha.min()) == 255:
        return np.ascontiguousarray(picture[:, :, :3])
    weighted: NDArray[np.uint16] = picture[:, :, :3] * (np.uint16(255) if is_premultiplied else alpha)
    # Premultiplied data may contradict its alpha; cut to what alpha allows, the sum below fits 16 bits.
    weighted = np.minimum(weighted, 255 * alpha)
    return ((weighted + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _turn_upright(picture: NDArray[Any], orientation: int, allocate: Allocate, max_pixels: int) -> Pixels:
    """Gray or BGR as stored to BGR upright, in allocated memory."""
    import cv2

    height, width = picture.shape[:2]
    refuse_above(max_pixels, width, height)  # the decoder's word counts where the header was wrong
    out = allocate(width, height) if orientation >= 5 else allocate(height, width)
    if picture.ndim == 2 or picture.shape[2] == 1:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    if orientation in (5, 7):  # lying and mirrored: transposed it is as 1 or 3
        picture = cv2.transpose(picture)
    match orientation:
        case 2:
            cv2.flip(picture, 1, dst=out)
        case 3 | 7:
            cv2.rotate(picture, cv2.ROTATE_180, dst=out)
        case 4:
            cv2.flip(picture, 0, dst=out)
        case 6:
            cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE, dst=out)
        case 8:
            cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE, dst=out)
        case _:
            np.copyto(out, picture)
    return out


def _imdecode(data: memoryview, as_8_bit_bgr: bool) -> NDArray[Any] | str:
    """The picture as stored, never turned: as 8-bit BGR, or unchanged; or the reason why there is none."""
    import cv2

    opencv.limit_threads()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION if as_8_bit_bgr else cv2.IMREAD_UNCHANGED
    with opencv.capture_stderr() as lines:
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except (cv2.error, MemoryError) as error:
            return opencv.explain(f"{error!r} {error}")
    return opencv.reason_in(lines) if picture is None else picture
