"""The sample: which frames are measured, the same for the bare cost and for every run.

Of image files it is some that lie evenly in the sources, of a video the video from its beginning; both are gone through
again and again.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from zpipe.config.keys import Config, IngestConfig
from zpipe.errors import ConfigError
from zpipe.source import SourceFrame
from zpipe.sources.files import FileFrame
from zpipe.sources.opening import open_source

MOST_FILES = 2000
"""Most distinct image files of a sample; at 10 frames/s it is minutes until they come round again."""

MOST_LINES = 2_000_000
"""Most lines of a list file for a run: 400 s at 5,000 frames/s, and 100 MB."""

MOST_TIMES = 100_000
"""Most times that a video is gone through; each is opened when its turn comes."""


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


def pick_evenly(files: Sequence[str], count: int) -> list[str]:
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
            files if not files else pick_evenly(files, max(1, round(len(files) * share))) for files in self._files
        ]

    @property
    def is_video(self) -> bool:
        """Whether a source is a video: then nobody knows how long a pass is."""
        return None in self._files

    def __len__(self) -> int:
        """Frames of a pass, as far as that is known: those of image files."""
        return sum(len(files) for files in self._files if files)

    def go_through(self) -> Iterator[SourceFrame]:
        """All frames of the sample once."""
        for entry, files in zip(self._config.ingest, self._files, strict=True):
            if files is None:
                source = open_source(entry, self._config.frames.max_pixels)
                yield from source.frames()
                source.close()
            else:
                yield from (FileFrame(os.path.basename(path), path, 1 << 40) for path in files)

    def write_sources(self, folder: Path, frames: int) -> list[dict[str, object]]:
        """The `ingest` section of a run over so many frames of the sample; what repeats them is in `folder`."""
        entries: list[dict[str, object]] = []
        share = frames // max(1, sum(files is None or bool(files) for files in self._files)) + 1
        for number, (entry, files) in enumerate(zip(self._config.ingest, self._files, strict=True)):
            if files is None:
                looped = loop_video(entry, folder, number, share, self._config.frames.max_pixels)
                entries.append({"path": looped, "stream": entry.stream, "every": entry.every})
            elif files:
                path = folder / f"frames-{number}.txt"
                with open(path, "w") as file:
                    file.writelines(f"{files[i % len(files)]}\n" for i in range(min(share, MOST_LINES)))
                entries.append({"path": str(path), "stream": entry.stream})
        return entries


def loop_video(entry: IngestConfig, folder: Path, number: int, frames: int, max_pixels: int) -> str:
    """The path of a playlist in `folder` that plays a video as often as so many frames need; the video's own if FFmpeg
    cannot play it so. FFmpeg takes only plain names in it for safe, so the video has one there."""
    link, path = folder / f"once-{number}{Path(entry.path).suffix}", folder / f"looped-{number}.mp4"
    link.symlink_to(Path(entry.path).absolute())
    source = open_source(entry, max_pixels)
    source.close()
    times = min(MOST_TIMES, frames // max(1, source.total or 1) + 1)
    path.write_text("ffconcat version 1.0\n" + f"file '{link.name}'\n" * times)
    looped = open_source(IngestConfig(path=str(path), every=entry.every), max_pixels)
    looped.close()
    return entry.path if looped.total_is_exact else str(path)


def take_first(sample: Sample, count: int) -> Iterator[SourceFrame]:
    """The first frames of the sample."""
    return islice(sample.go_through(), count)
