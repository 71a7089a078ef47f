"""The sample: which frames are measured, the same for the bare cost and for every run.

Of image files it is some that lie evenly in the sources, gone through again and again; of a video it is the video
from its beginning.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zpipe.config.keys import Config, IngestConfig
from zpipe.errors import ConfigError
from zpipe.source import SourceFrame
from zpipe.sources.files import FileFrame
from zpipe.sources.opening import open_source

MOST_FILES = 2000
"""Most distinct image files of a sample; at 10 frames/s it is minutes until they come round again."""

MOST_LINES = 2_000_000
"""Most lines of a list file for a run: 400 s at 5,000 frames/s, and 100 MB."""


class Room:
    """Memory of our own that a source can load a frame into, as it does into a slot (source.py)."""

    def __init__(self) -> None:
        self._memory = np.empty(1 << 20, np.uint8)
        self._encoded_bytes = 0
        self._pixels: NDArray[np.uint8] | None = None

    def encoded(self, size_bytes: int) -> memoryview:
        """Writable room for an encoded file."""
        self._encoded_bytes, self._pixels = size_bytes, None
        return self._of(size_bytes).data

    def pixels(self, height: int, width: int) -> NDArray[np.uint8]:
        """Writable room for a decoded picture."""
        self._pixels = self._of(height * width * 3).reshape(height, width, 3)
        return self._pixels

    @property
    def decoded(self) -> NDArray[np.uint8] | None:
        """The picture, if the source gave pixels."""
        return self._pixels

    @property
    def file(self) -> memoryview:
        """The encoded file, if the source gave one."""
        return self._memory[: self._encoded_bytes].data

    def _of(self, size_bytes: int) -> NDArray[np.uint8]:
        if len(self._memory) < size_bytes:
            self._memory = np.empty(size_bytes * 5 // 4, np.uint8)
        return self._memory[:size_bytes]


def files_of(entry: IngestConfig, max_pixels: int) -> list[str] | None:
    """The paths of all image files of a source; None for a video. A name that a list file cannot hold is left out."""
    source = open_source(entry, max_pixels)
    names = source.names()
    source.close()
    if names is None:
        return None
    folder = entry.path if os.path.isdir(entry.path) else os.path.dirname(entry.path)
    paths = (os.path.join(folder, name) for name in names)
    return [path for path in paths if os.path.isfile(path) and path == path.strip() and "\n" not in path]


def spread(files: Sequence[str], count: int) -> list[str]:
    """`count` of the files (or all), evenly spaced."""
    count = min(count, len(files))
    return [files[i * len(files) // count] for i in range(count)]


class Sample:
    """The sample of a config's sources."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._files = [files_of(entry, config.frames.max_pixels) for entry in config.ingest]
        if not any(files is None or files for files in self._files):
            raise ConfigError("there are no frames to measure with: " + ", ".join(e.path for e in config.ingest))

    def limit(self, count: int) -> None:
        """Keep so many image files of all sources together."""
        known = sum(len(files) for files in self._files if files)
        share = min(1.0, count / max(1, known))
        self._files = [
            files if not files else spread(files, max(1, round(len(files) * share))) for files in self._files
        ]

    @property
    def is_video(self) -> bool:
        """Whether a source is a video: then a run ends when it does."""
        return None in self._files

    def __len__(self) -> int:
        """Frames of a pass, as far as that is known: those of image files."""
        return sum(len(files) for files in self._files if files)

    def one_pass(self) -> Iterator[SourceFrame]:
        """All frames of the sample once."""
        for entry, files in zip(self._config.ingest, self._files, strict=True):
            if files is None:
                source = open_source(entry, self._config.frames.max_pixels)
                yield from source.frames()
                source.close()
            else:
                yield from (FileFrame(os.path.basename(path), path, 1 << 40) for path in files)

    def sources(self, folder: Path, frames: int) -> list[dict[str, object]]:
        """The `ingest` section of a run over so many frames of the sample: list files in `folder`, and the videos."""
        entries: list[dict[str, object]] = []
        share = frames // max(1, sum(bool(files) for files in self._files)) + 1
        for number, (entry, files) in enumerate(zip(self._config.ingest, self._files, strict=True)):
            if files is None:
                entries.append({"path": entry.path, "stream": entry.stream, "every": entry.every})
            elif files:
                path = folder / f"frames-{number}.txt"
                with open(path, "w") as file:
                    file.writelines(f"{files[i % len(files)]}\n" for i in range(min(share, MOST_LINES)))
                entries.append({"path": str(path), "stream": entry.stream})
        return entries


def first(sample: Sample, count: int) -> Iterator[SourceFrame]:
    """The first frames of the sample."""
    return islice(sample.one_pass(), count)
