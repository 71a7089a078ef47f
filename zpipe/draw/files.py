"""Writes drawn results to disk: one picture per frame in a folder, or one video per stream.

Where pictures come from, and what of a result is wanted, others decide.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from zpipe.draw.look import ALL, Look
from zpipe.draw.objects import draw
from zpipe.draw.plates import plate, with_failure
from zpipe.errors import FrameError, ZpipeError
from zpipe.pixels import Pixels

Decoded = dict[str, Any]
"""The decoded JSON of a result."""

FindImage = Callable[[Decoded], Pixels | None]
"""The picture of a result as BGR; None or `FrameError` when it cannot be had."""

Add = Callable[[Decoded, Pixels], None]

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".webm": "VP80", ".avi": "MJPG"}
"""Of those that OpenCV's wheels can write (no H.264 for its licence). Browsers play .webm."""

JPEG_QUALITY = 92

RATE = 25.0
"""Frames per second of a video that is made of single images."""


def write_pictures(
    results: Iterable[Decoded],
    find_image: FindImage,
    out: Path,
    video: Path | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    look: Look = ALL,
    by_stream: bool = False,
    rate_of: Callable[[str], float] = lambda stream: RATE,
) -> int:
    """Draws each `frame` result that `look` wants and returns how many there were: files below `out`, or `video`.

    Files are called as the frames, unique whatever the names are, and stay below `out` whatever the names try;
    `by_stream` gives each stream a folder, or a video of its own (`film-yard.mp4`). Existing files are replaced. A
    video has the size of its first picture, into which others are fitted, and the stream's rate; when results end by
    an exception (Ctrl-C), what came before can be played. `progress` hears how many there are after each.
    `ZpipeError` when no such video can be written.
    """
    pictures = _draw_all(results, find_image, look)
    write = _as_videos(video, rate_of, by_stream) if video else _as_files(out, by_stream)
    written = 0
    with write as add:
        for result, picture in pictures:
            add(result, picture)
            written += 1
            if progress:
                progress(written)
    return written


def _draw_all(results: Iterable[Decoded], find_image: FindImage, look: Look) -> Iterator[tuple[Decoded, Pixels]]:
    """Each frame with its picture; a plate, as large as the picture before, where there is no image."""
    width, height = 960, 540
    for result in results:
        if result["type"] != "frame" or not look.wants(result["stream"]):
            continue
        image, reason = _try_to_find(result, find_image)
        if image is None:
            picture = plate(result, reason, width, height)
        elif result["status"] != "ok":
            picture = with_failure(image, result)
        else:
            size = result.get("resolution")
            resolution = (size["width"], size["height"]) if size else None
            picture = draw(image, look.choose(result["objects"]), resolution, look.with_labels)
        height, width = picture.shape[:2]
        yield result, picture


def _try_to_find(result: Decoded, find_image: FindImage) -> tuple[Pixels | None, str]:
    try:
        return find_image(result), "its image cannot be found or read"
    except FrameError as error:
        return None, str(error)


@contextmanager
def _as_files(out: Path, by_stream: bool) -> Iterator[Add]:
    used: set[Path] = set()

    def add(result: Decoded, picture: Pixels) -> None:
        path = _make_unique(out / _file_name(result, by_stream), used)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_encode(picture, path.suffix))
        except OSError as error:
            raise ZpipeError(f"{path}: cannot be written: {error.strerror}") from error

    yield add


@contextmanager
def _as_videos(video: Path, rate_of: Callable[[str], float], by_stream: bool) -> Iterator[Add]:
    films: dict[str, Film] = {}

    def add(result: Decoded, picture: Pixels) -> None:
        stream = result["stream"] if by_stream else ""
        if stream not in films:
            path = video.with_name(f"{video.stem}-{_tame(stream)}{video.suffix}") if by_stream else video
            films[stream] = Film(path, rate_of(result["stream"]), picture)
        films[stream].add(picture)

    try:
        yield add
    finally:
        for film in films.values():
            film.close()


class Film:
    """A video file, as large as its first picture; codecs want even sides."""

    def __init__(self, path: Path, frames_per_s: float, first: Pixels) -> None:
        self._width, self._height = (side + side % 2 for side in first.shape[1::-1])
        self._writer = _open_video(path, frames_per_s, self._width, self._height)

    def add(self, picture: Pixels) -> None:
        """Append a picture, fitted into the film's size."""
        self._writer.write(_fit(picture, self._width, self._height))

    def close(self) -> None:
        """Write what a player needs to know of it."""
        self._writer.release()


def _file_name(result: Decoded, by_stream: bool) -> PurePosixPath:
    """The frame's name as a relative path that can only lead down: names may come from another machine."""
    names = ([result["stream"]] if by_stream else []) + result["name"].split("/")
    parts = [_tame(part) for part in names if part not in ("", ".", "..")] or ["frame"]
    stem, mark, number = parts[-1].rpartition("#")
    if mark and number.isdecimal():  # a frame of a video; with zeros, folders sort them and tools find them
        parts[-1] = f"{stem}-{int(number):06}.jpg"
    elif PurePosixPath(parts[-1]).suffix.lower() not in (".jpg", ".jpeg", ".png"):
        parts[-1] += ".jpg"
    return PurePosixPath(*parts)


def _tame(part: str) -> str:
    """A part of a path that every file system takes: no control characters, of bearable length, suffix kept."""
    part = "".join(letter if letter.isprintable() and letter not in "\\/" else "_" for letter in part)
    stem, suffix = os.path.splitext(part)
    return stem.encode(errors="replace")[:200].decode(errors="ignore") + suffix[:8]


def _make_unique(path: Path, used: set[Path]) -> Path:
    """The path, or with the first free number before its suffix."""
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    while path in used:
        path = next(numbered)
    used.add(path)
    return path


def _encode(picture: Pixels, suffix: str) -> bytes:
    """PNG or JPEG; the latter with colour at full resolution, or coloured text would fray."""
    if suffix.lower() == ".png":
        return cv2.imencode(".png", picture)[1].tobytes()
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *sampling])[1].tobytes()


def _open_video(out: Path, frames_per_s: float, width: int, height: int) -> cv2.VideoWriter:
    codec = CODECS.get(out.suffix.lower())
    if codec is None:
        raise ZpipeError(f"{out}: no video of this kind can be written; known are {', '.join(CODECS)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    code = cv2.VideoWriter.fourcc(*codec)
    writer = cv2.VideoWriter(str(out), cv2.CAP_FFMPEG, code, frames_per_s, (width, height))
    if not writer.isOpened():
        raise ZpipeError(f"{out}: OpenCV cannot write a {codec} video of {width}×{height} there")
    return writer


def _fit(picture: Pixels, width: int, height: int) -> Pixels:
    """The picture in the middle of one of that size, shrunk or enlarged with its aspect kept."""
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(width / picture.shape[1], height / picture.shape[0])
    if picture.shape[1] + 1 < width or picture.shape[0] + 1 < height or scale < 1:
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        picture = cv2.resize(picture, size, interpolation=how).astype(np.uint8, copy=False)
    left, top = (width - picture.shape[1]) // 2, (height - picture.shape[0]) // 2
    page = np.zeros((height, width, 3), np.uint8)
    page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return page
