"""What an encoded image says about itself before anything is decoded: format, size, orientation.

Own parsers, because the pixel limit must hold *before* a decoder allocates. Nothing here decodes, or allocates more
than the input. Pillow 13.0 was tried for all but JPEG: `Image.open` in place of them saves 67 lines, less the walk
over a PNG's chunks, which must stay. It takes 170 to 1,080 µs for a 1080p file where this takes 2 to 90, and 50 ms
to import; it reserves 2 GB for a WebP of 16,000×16,000, and decodes a PNG that has no EXIF when asked for it. Of 34
foreign files it reads 8 otherwise: three PNGs that are cut off pass.

Every parser maps bytes to a `Header` or raises `FrameError`, whatever the bytes are.
"""

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from zpipe.errors import FrameError


class Header(NamedTuple):
    """Size in pixels as stored, and the EXIF orientation (1 to 8) that makes it upright."""

    format: str
    width: int
    height: int
    orientation: int = 1
    has_palette: bool = False
    """Known of TIFF only, where it decides how OpenCV must be asked."""

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height in pixels as a person sees the picture; orientations 5 to 8 lie on their side."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(data: memoryview) -> Header:
    """The header of an encoded image; `FrameError` if it is damaged or of no format that zpipe reads."""
    if not len(data):
        raise FrameError("the file is empty")
    start = bytes(data[:32])
    name = sniff(start)
    if name is None:
        raise FrameError(_not_an_image(start))
    try:
        header = PARSERS[name](data)
    except (struct.error, IndexError, ValueError) as error:
        raise FrameError(f"{name} file with a damaged or incomplete header") from error
    if header.width <= 0 or header.height <= 0:
        raise FrameError(f"{name} file whose header claims a size of {header.width}×{header.height}")
    return header


def refuse_above(max_pixels: int, width: int, height: int) -> None:
    """`FrameError` when a picture of this size, in pixels, is above the limit."""
    if width * height > max_pixels:
        megapixels, limit = width * height / 1e6, max_pixels / 1e6
        raise FrameError(
            f"{width}×{height} is {megapixels:,.1f} megapixels; the limit is {limit:,.1f} (frames.max_pixels)"
        )


def size_to_decode(data: memoryview, max_pixels: int) -> tuple[int, int] | None:
    """Width and height of an encoded image that will be decoded; None: it will not be, and who decodes says why."""
    try:
        width, height = read_header(data).upright
    except FrameError:
        return None
    return (width, height) if width * height <= max_pixels else None


ONE_PICTURE = ("JPEG", "PNG", "BMP")
"""Formats of one picture, mostly; files of others may be long for their many pages."""

BYTES_PER_PIXEL, METADATA_BYTES = 8, 16 << 20
"""Most of a file that is sensible: uncompressed, four samples of 16 bits a pixel; and what is said about it."""


LARGE_BYTES, START_BYTES = 16 << 20, 1 << 20
"""Of a file that is large for a picture the start is looked at before memory is taken for all of it."""


def refuse_too_long(size_bytes: int, max_pixels: int) -> None:
    """`FrameError` when a file has more bytes than any sensible picture within the limit."""
    most_bytes = BYTES_PER_PIXEL * max_pixels + METADATA_BYTES
    if size_bytes > most_bytes:
        raise FrameError(
            f"a file of {size_bytes / 1e6:,.0f} MB; a picture within frames.max_pixels has at most"
            f" {most_bytes / 1e6:,.0f} MB"
        )


def refuse_in_vain(start: memoryview, size_bytes: int, max_pixels: int) -> None:
    """`FrameError` when the `start` of a large file shows that to read all of its `size_bytes` would be in vain."""
    name = sniff(bytes(start[:32]))
    if name is None:
        raise FrameError(_not_an_image(bytes(start[:32])))
    size = _claimed_size(name, start)
    if size is None:
        return
    refuse_above(max_pixels, *size)
    if name in ONE_PICTURE and size_bytes > BYTES_PER_PIXEL * size[0] * size[1] + METADATA_BYTES:
        raise FrameError(f"{name} file of {size_bytes / 1e6:,.0f} MB that claims a picture of {size[0]}×{size[1]} only")


def _claimed_size(name: str, start: memoryview) -> tuple[int, int] | None:
    """Width and height as far as the start of a file tells."""
    try:
        if name == "PNG":  # its parser wants to see the end
            width, height = struct.unpack_from(">II", start, 16)
            return width, height
        header = PARSERS[name](start)
    except (struct.error, IndexError, ValueError, FrameError):
        return None
    return header.width, header.height


def sniff(start: bytes) -> str | None:
    """The format of an image by its first bytes (32 are enough), None when it is none that zpipe reads."""
    for name, pattern in SIGNATURES.items():
        if pattern.match(start):
            return name
    return None


SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "AVIF": re.compile(rb"....ftyp(?:avif|avis|mi[af]1.{4}(?:.{4})*?avi[fs])", re.DOTALL),
    "PNM": re.compile(rb"P[1-6]\s"),
}

KNOWN_BUT_NOT_READ = {
    "HEIC": re.compile(rb"....ftyp(?:hei|hev|mif1|msf1)", re.DOTALL),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL ", re.DOTALL),
    "icon": re.compile(rb"\0\0[\1\2]\0.\0", re.DOTALL),  # .ico and .cur
    "HTML": re.compile(rb"\s*<(?:!doctype html|html|head|body)", re.IGNORECASE),
    "SVG or XML": re.compile(rb"\s*<(?:\?xml|svg)", re.IGNORECASE),
    "git-lfs pointer": re.compile(rb"version https://git-lfs"),
}


def _not_an_image(start: bytes) -> str:
    """Why these first bytes are refused, naming what they are where that is plain."""
    readable = ", ".join(SIGNATURES)
    for name, pattern in KNOWN_BUT_NOT_READ.items():
        if pattern.match(start):
            return f"a file of type {name}, which zpipe does not read (it reads {readable})"
    return f"not an image: begins with {start[:8]!r} (zpipe reads {readable})"


JPEG_MARKER = re.compile(rb"\xff([\x01-\xfe])")
JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # all SOFn; not DHT, JPG, DAC
JPEG_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}  # markers without a length: RSTn, SOI, TEM


def _jpeg(data: memoryview) -> Header:
    """Walks the segments up to the first scan. Junk between them is skipped, as libjpeg does."""
    at, orientation, size = 2, 1, None
    while match := JPEG_MARKER.search(data, at):
        marker, at = match[1][0], match.end()
        if marker in JPEG_STANDALONE:
            continue
        if marker in (0xDA, 0xD9):  # the pixels begin; or the end, without any
            break
        (length,) = struct.unpack_from(">H", data, at)
        if marker in JPEG_FRAME_HEADERS and size is None:
            size = struct.unpack_from(">HH", data, at + 3)
        elif marker == 0xE1 and orientation == 1 and bytes(data[at + 2 : at + 8]) == b"Exif\0\0":
            orientation = _exif_orientation(data[at + 8 : at + length])
        at += max(length, 2)
    if size is None:
        raise ValueError
    return Header("JPEG", size[1], size[0], orientation)


def _exif_orientation(exif: memoryview) -> int:
    """Tag 0x0112 of the first directory; 1 (upright) if absent or damaged: bad EXIF spoils no picture."""
    try:
        fields = dict(_tiff_fields(exif))
    except (struct.error, ValueError):
        return 1
    return _valid_orientation(fields.get(0x0112, 1))


def _valid_orientation(value: int) -> int:
    return value if 1 <= value <= 8 else 1


def _tiff_fields(data: memoryview) -> Iterator[tuple[int, int]]:
    """Tags and first values of the integer fields in a TIFF's first directory; classic and BigTIFF (43)."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        raise ValueError
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    if at >= len(data):  # a BigTIFF's may be more than an index can be
        raise ValueError
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at, step, value_at = (at + 8, 20, 12) if big else (at + 2, 12, 8)
    for entry in range(at, at + step * min(count, 4096), step):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if kind in TIFF_INTEGERS:
            yield tag, struct.unpack_from(order + TIFF_INTEGERS[kind], data, entry + value_at)[0]


TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, LONG8, stored in the entry itself


def _tiff(data: memoryview) -> Header:
    fields: dict[int, int] = {}
    for tag, value in _tiff_fields(data):
        fields.setdefault(tag, value)  # the first of repeated tags counts, as in libtiff
    width, height = fields.get(256, 0), fields.get(257, 0)
    # A tile is decoded whole, however little of it the picture needs: its size must pass the limit too.
    tile_width, tile_height = fields.get(322, 0), fields.get(323, 0)
    if tile_width * tile_height > max(16 * width * height, 2**24):
        raise FrameError(f"TIFF file of {width}×{height} in tiles of {tile_width}×{tile_height}")
    has_palette = fields.get(262) == 3  # PhotometricInterpretation
    return Header("TIFF", width, height, _valid_orientation(fields.get(274, 1)), has_palette)


def _png(data: memoryview) -> Header:
    if bytes(data[12:16]) != b"IHDR":
        raise ValueError
    width, height = struct.unpack_from(">II", data, 16)
    at, orientation, kind = 8, 1, b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", data[at : at + 8].tobytes().ljust(8, b"\xff"))
        if not kind.isalpha():  # holes of a sparse file are zeros: millions of chunks of no length
            raise FrameError("PNG file is damaged: what should be a chunk of it is none")
        if at + 12 + length > len(data):  # OpenCV would first allocate what a damaged length claims, up to 4 GB
            raise FrameError("PNG file is truncated or damaged: it ends inside one of its chunks")
        if kind == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : at + 8 + length])
        at += 12 + length
    return Header("PNG", width, height, orientation)


def _gif(data: memoryview) -> Header:
    return Header("GIF", *struct.unpack_from("<HH", data, 6))


def _bmp(data: memoryview) -> Header:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    return Header("BMP", width, abs(height))  # a negative height: rows from the top


def _webp(data: memoryview) -> Header:
    kind = bytes(data[12:16])
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WebP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X":
        raise ValueError
    width = int.from_bytes(data[24:27], "little") + 1
    height = int.from_bytes(data[27:30], "little") + 1
    at, orientation = 12, 1
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            exif = data[at + 8 : at + 8 + length]
            orientation = _exif_orientation(exif[6:] if bytes(exif[:6]) == b"Exif\0\0" else exif)
        at += 8 + length + length % 2
    return Header("WebP", width, height, orientation)


AVIF_SIZE = re.compile(rb"\0\0\0\x14ispe.{4}(.{4})(.{4})", re.DOTALL)
AVIF_ROTATION = re.compile(rb"\0\0\0\x09irot(.)", re.DOTALL)
AVIF_MIRROR = re.compile(rb"\0\0\0\x09imir(.)", re.DOTALL)
AVIF_ORIENTATIONS = {  # quarter turns to the left, then mirrored: not, top to bottom (0), left to right (1)
    (0, None): 1, (0, 1): 2, (2, None): 3, (0, 0): 4, (1, 0): 5, (3, None): 6, (3, 0): 7, (1, None): 8,
    (2, 0): 2, (2, 1): 4, (3, 1): 5, (1, 1): 7,
}  # fmt: skip


def _avif(data: memoryview) -> Header:
    """Sizes are in `ispe` boxes; of several (tiles, thumbnail, alpha) the largest is the picture's."""
    meta = bytes(data[: 1 << 16])
    sizes = [struct.unpack(">II", width + height) for width, height in AVIF_SIZE.findall(meta)]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    rotation, mirror = AVIF_ROTATION.search(meta), AVIF_MIRROR.search(meta)
    turns, axis = rotation[1][0] & 3 if rotation else 0, mirror[1][0] & 1 if mirror else None
    return Header("AVIF", width, height, AVIF_ORIENTATIONS[turns, axis])


PNM_HEADER = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")


def _pnm(data: memoryview) -> Header:
    match = PNM_HEADER.match(bytes(data[:4096]))
    if not match:
        raise ValueError
    return Header("PNM", int(match[1]), int(match[2]))


PARSERS: dict[str, Callable[[memoryview], Header]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "WebP": _webp,
    "TIFF": _tiff,
    "AVIF": _avif,
    "PNM": _pnm,
}
